// Every part runs once, on the thread the partition says, and no failure is lost.
#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/cpus.h"
#include "base/files.h"

namespace nibble {
namespace {

TEST(ThreadPool, RunsEveryPartOnce) {
  for (const int threads : {1, 2, 3, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.size(), threads);
    for (const int64_t parts : {0, 1, 2, 3, 7, 100}) {
      std::vector<int> count(static_cast<size_t>(parts), 0);
      pool.run(parts, [&](int64_t p) { ++count[static_cast<size_t>(p)]; });
      for (const int c : count) EXPECT_EQ(c, 1);
    }
  }
}

TEST(ThreadPool, ThePartitionIsFixed) {
  ThreadPool pool(3);
  std::vector<std::thread::id> first(9), again(9);
  pool.run(9, [&](int64_t p) { first[static_cast<size_t>(p)] = std::this_thread::get_id(); });
  pool.run(9, [&](int64_t p) { again[static_cast<size_t>(p)] = std::this_thread::get_id(); });
  EXPECT_EQ(first, again);
  EXPECT_EQ(first[0], std::this_thread::get_id());
  EXPECT_EQ(first[1], first[4]);
  EXPECT_NE(first[1], first[2]);
}

TEST(ThreadPool, RangesCoverTheWholeOnce) {
  ThreadPool pool(4);
  for (const int64_t n : {0, 1, 3, 4, 5, 1000, 1001}) {
    for (const int64_t grain : {0, 1, 7, 5000}) {
      std::vector<int> count(static_cast<size_t>(n), 0);
      pool.parallel_for(n, grain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++count[static_cast<size_t>(i)];
      });
      EXPECT_EQ(std::accumulate(count.begin(), count.end(), int64_t{0}), n);
      for (const int c : count) EXPECT_EQ(c, 1);
    }
  }
}

TEST(ThreadPool, ManyShortRegionsAndPausesLoseNoWakeUp) {
  ThreadPool pool(3);
  std::atomic<int64_t> sum{0};
  for (int i = 0; i < 3000; ++i) {
    pool.run(3, [&](int64_t p) { sum.fetch_add(p + 1); });
    if (i % 300 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  EXPECT_EQ(sum.load(), 3000 * 6);
}

TEST(ThreadPool, AFailureIsRethrownAndThePoolLivesOn) {
  ThreadPool pool(3);
  for (int repeat = 0; repeat < 20; ++repeat) {
    try {
      pool.run(9, [](int64_t p) {
        if (p >= 4) throw std::runtime_error(std::to_string(p));
      });
      FAIL();
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "4");  // the lowest part, whichever failed first
    }
    std::atomic<int> done{0};
    pool.run(9, [&](int64_t) { ++done; });
    EXPECT_EQ(done.load(), 9);
  }
}

TEST(ThreadPool, NestedCallsRunWhereTheyAre) {
  ThreadPool pool(2), other(2);
  std::atomic<int> inner{0};
  pool.run(4, [&](int64_t) {
    const auto here = std::this_thread::get_id();
    pool.run(3, [&](int64_t) { inner += std::this_thread::get_id() == here; });
    other.run(3, [&](int64_t) { inner += std::this_thread::get_id() == here; });
  });
  EXPECT_EQ(inner.load(), 24);
}

TEST(ThreadPool, ASecondCallerWaitsForTheFirst) {
  ThreadPool pool(2);
  std::atomic<int> inside{0}, most{0}, done{0};
  const auto caller = [&] {
    for (int i = 0; i < 200; ++i) {
      pool.run(2, [&](int64_t p) {
        if (p != 0) return;
        const int now = ++inside;
        if (now > most) most = now;
        --inside;
        ++done;
      });
    }
  };
  std::thread second(caller);
  caller();
  second.join();
  EXPECT_EQ(most.load(), 1);
  EXPECT_EQ(done.load(), 400);
}

class Groups : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = std::string(::testing::TempDir()) + "/nibble_groups_" + std::to_string(::getpid());
    std::filesystem::remove_all(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void put(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  std::string root_;
};

TEST_F(Groups, TheSmallestQuotaUpTheTreeCounts) {
  put("/a/b/cpu.max", "250000 100000\n");
  put("/a/cpu.max", "max 100000\n");
  EXPECT_EQ(quota_cpus("0::/a/b\n", root_), 3);  // 2.5, rounded up
  put("/a/cpu.max", "200000 100000\n");
  EXPECT_EQ(quota_cpus("0::/a/b\n", root_), 2);
  put("/cpu.max", "10000 100000\n");
  EXPECT_EQ(quota_cpus("0::/a/b\n", root_), 1);
}

TEST_F(Groups, VersionOneAndNoQuotaAreUnderstood) {
  put("/cpu/job/cpu.cfs_quota_us", "400000\n");
  put("/cpu/job/cpu.cfs_period_us", "100000\n");
  put("/cpu/cpu.cfs_quota_us", "-1\n");
  put("/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota_cpus("5:memory:/job\n4:cpu,cpuacct:/job\n", root_), 4);
  EXPECT_EQ(quota_cpus("5:memory:/job\n", root_), 0);
  EXPECT_EQ(quota_cpus("", root_), 0);
  EXPECT_EQ(quota_cpus("0::/\n", root_ + "/none"), 0);
}

TEST(Cpus, OpenMpsVariableIsReadAsOpenMpReadsIt) {
  EXPECT_EQ(openmp_threads("3"), 3);
  EXPECT_EQ(openmp_threads(" 4,2"), 4);
  EXPECT_EQ(openmp_threads("0"), 0);
  EXPECT_EQ(openmp_threads("-2"), 0);
  EXPECT_EQ(openmp_threads("many"), 0);
  EXPECT_EQ(openmp_threads("4x"), 0);
  EXPECT_EQ(openmp_threads(nullptr), 0);
  EXPECT_GE(usable_cpus(), 1);
}

}  // namespace
}  // namespace nibble
