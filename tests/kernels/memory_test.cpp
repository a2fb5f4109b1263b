#include "kernels/memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "base/errors.h"
#include "kernels/machine_memory.h"

namespace nibble {
namespace {

using ::testing::HasSubstr;

TEST(Memory, CountsWhatLivesAndPeaksByPurpose) {
  Memory memory;
  auto weights = memory.allocate(1000, Purpose::weights);
  {
    auto scratch = memory.allocate(500, Purpose::scratch);
    EXPECT_EQ(memory.live(), 1500);
    EXPECT_EQ(memory.live(Purpose::scratch), 500);
  }
  EXPECT_EQ(memory.live(), 1000);
  EXPECT_EQ(memory.peak(), 1500);
  EXPECT_EQ(memory.peak(Purpose::scratch), 500);
  memory.reset_peak();
  EXPECT_EQ(memory.peak(), 1000);
  EXPECT_EQ(memory.peak(Purpose::scratch), 0);
  EXPECT_THAT(memory.table(), HasSubstr("weights 1000 B"));
}

TEST(Memory, AlignsSmallBuffersTo64BytesAndLargeOnesToHugePages) {
  Memory memory;
  for (const int64_t bytes :
       {int64_t{0}, int64_t{1}, int64_t{100}, int64_t{70000}, int64_t{1} << 20}) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory.allocate(bytes, Purpose::kv)->data()) % 64, 0u);
  }
  auto large = memory.allocate((int64_t{5} << 20) + 3, Purpose::kv);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(large->data()) % (2u << 20), 0u);
  static_cast<char*>(large->data())[(5 << 20) + 2] = 1;  // the last byte is there
}

TEST(Memory, AFreedBufferServesTheNextOfItsSize) {
  Memory memory;
  auto a = memory.allocate(int64_t{8} << 20, Purpose::activation);
  void* const first = a->data();
  a.reset();
  auto b = memory.allocate((int64_t{8} << 20) - 4096, Purpose::logits);
  EXPECT_EQ(b->data(), first);
  b.reset();
  auto much_smaller = memory.allocate(int64_t{4} << 20, Purpose::logits);
  EXPECT_NE(much_smaller->data(), first);
}

TEST(Memory, RefusesBeyondItsLimitWithATableAndThreeCures) {
  Memory memory(int64_t{10} << 20);
  auto weights = memory.allocate(int64_t{6} << 20, Purpose::weights);
  try {
    memory.allocate(int64_t{5} << 20, Purpose::activation);
    FAIL();
  } catch (const OutOfMemory& e) {
    EXPECT_THAT(e.what(), HasSubstr("5.00 MiB for activation"));
    EXPECT_THAT(e.what(), HasSubstr("weights 6.00 MiB"));
    EXPECT_THAT(e.what(), HasSubstr("micro_batch_size"));
    EXPECT_THAT(e.what(), HasSubstr("gradient_checkpointing"));
    EXPECT_THAT(e.what(), HasSubstr("load_in_4bit"));
  }
  EXPECT_EQ(memory.live(), int64_t{6} << 20);
  weights.reset();
  EXPECT_NO_THROW(memory.allocate(int64_t{9} << 20, Purpose::activation));  // drops what was kept
}

TEST(Memory, RefusesWhatNoMachineHas) {
  Memory memory;
  EXPECT_THROW(memory.allocate(int64_t{1} << 60, Purpose::kv), OutOfMemory);
  EXPECT_THROW(memory.allocate(int64_t{1} << 50, Purpose::kv), OutOfMemory);
  EXPECT_THROW(memory.allocate(-1, Purpose::kv), Bug);
}

TEST(Memory, ServesSeveralThreads) {
  Memory memory;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&memory, t] {
      for (int i = 0; i < 500; ++i) {
        auto buffer = memory.allocate(1000 + 70000 * ((i + t) % 3), Purpose::scratch);
        static_cast<char*>(buffer->data())[0] = 1;
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(memory.live(), 0);
}

struct FakeMachine {
  std::filesystem::path root;
  FakeMachine() {
    std::string name = (std::filesystem::temp_directory_path() / "nibble-memory-XXXXXX").string();
    root = mkdtemp(name.data());
    write("proc/meminfo", "MemTotal:  8000 kB\nMemFree:  10 kB\nMemAvailable:  5000 kB\n");
  }
  ~FakeMachine() { std::filesystem::remove_all(root); }
  void write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text;
  }
};

TEST(MachineMemory, WithoutAGroupTheKernelsNumbersHold) {
  const FakeMachine machine;
  machine.write("proc/self/cgroup", "0::/\n");
  machine.write("sys/fs/cgroup/memory.max", "max\n");
  EXPECT_EQ(machine_memory(machine.root.string()).total, 8000 * 1024);
  EXPECT_EQ(machine_memory(machine.root.string()).available, 5000 * 1024);
}

TEST(MachineMemory, AParentGroupsLimitLowersBoth) {
  const FakeMachine machine;
  machine.write("proc/self/cgroup", "0::/job/step\n");
  machine.write("sys/fs/cgroup/job/step/memory.max", "max\n");
  machine.write("sys/fs/cgroup/job/memory.max", "4096000\n");
  machine.write("sys/fs/cgroup/job/memory.current", "1000000\n");
  machine.write("sys/fs/cgroup/job/memory.stat", "anon 5\ninactive_file 200000\n");
  EXPECT_EQ(machine_memory(machine.root.string()).total, 4096000);
  EXPECT_EQ(machine_memory(machine.root.string()).available, 4096000 - 800000);
}

TEST(MachineMemory, ReadsTheOldHierarchyToo) {
  const FakeMachine machine;
  machine.write("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n");
  machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "3000000\n");
  machine.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "1000000\n");
  machine.write("sys/fs/cgroup/memory/memory.stat", "cache 9\ntotal_inactive_file 500000\n");
  EXPECT_EQ(machine_memory(machine.root.string()).available, 2500000);
}

TEST(MachineMemory, ThisMachineHasSome) {
  EXPECT_GT(machine_memory().total, int64_t{64} << 20);
  EXPECT_GT(machine_memory().available, 0);
}

}  // namespace
}  // namespace nibble
