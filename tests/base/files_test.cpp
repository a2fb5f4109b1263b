// A file or folder under its final name is whole, whatever fails while it is written.
#include "base/files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "base/text.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

class Files : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    root_ = cat(::testing::TempDir(), "/nibble_", test->name(), "_", ::getpid());
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  void TearDown() override {
    set_fault("");
    fs::remove_all(root_);
  }
  std::string at(std::string_view name) const { return join_path(root_, name); }
  std::string root_;
};

template <class Work>
std::pair<Exit, std::string> failure(const Work& work) {
  try {
    work();
  } catch (const UserError& error) {
    return {error.code(), error.what()};
  }
  return {Exit::done, ""};
}

void save(const std::string& path, const std::string& content, bool replace) {
  OutputDirectory out(path, replace);
  write_file(out.file("a.bin"), content + "a");
  write_file(out.file("sub/b.bin"), content + "b");
  out.commit();
}

TEST_F(Files, AFileAppearsOnlyWhenCommitted) {
  {
    OutputFile file(at("x"));
    file.write("hello");
    EXPECT_FALSE(exists(at("x")));
  }
  EXPECT_TRUE(list_directory(root_).empty());
  write_file(at("x"), "hello");
  EXPECT_EQ(read_file(at("x")), "hello");
  write_file(at("x"), "again");
  EXPECT_EQ(read_file(at("x")), "again");
  EXPECT_EQ(list_directory(root_), std::vector<std::string>{"x"});
}

TEST_F(Files, ALinkKeepsPointingAndADeviceIsWrittenInPlace) {
  write_file(at("target"), "1");
  fs::create_symlink("target", at("link"));
  write_file(at("link"), "2");
  EXPECT_TRUE(fs::is_symlink(at("link")));
  EXPECT_EQ(read_file(at("target")), "2");
  write_file("/dev/null", "gone");
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  if (exists("/dev/full")) {
    const auto [code, what] = failure([] { write_file("/dev/full", "x"); });
    EXPECT_EQ(code, Exit::io);
    EXPECT_NE(what.find("/dev/full: cannot be written: no space left on device"), std::string::npos)
        << what;
  }
}

TEST_F(Files, ExitCodesTellWhatIsWrong) {
  EXPECT_EQ(failure([&] { read_file(at("none")); }).first, Exit::missing_input);
  EXPECT_EQ(failure([&] { read_file(root_); }).first, Exit::missing_input);
  EXPECT_EQ(failure([&] { list_directory(at("none")); }).first, Exit::missing_input);
  EXPECT_EQ(failure([&] { write_file(at("none/x"), ""); }).first, Exit::cannot_create);
  EXPECT_EQ(failure([&] { write_file(root_, ""); }).first, Exit::cannot_create);
  write_file(at("file"), "12345");
  EXPECT_EQ(failure([&] { make_directories(at("file/x")); }).first, Exit::cannot_create);
  EXPECT_EQ(failure([&] { InputFile x(at("none")); }).first, Exit::missing_input);
  EXPECT_EQ(failure([&] { verify_directory(at("none")); }).first, Exit::missing_input);
  const InputFile in(at("file"));
  EXPECT_EQ(in.size(), 5);
  std::array<char, 4> out{};
  in.read(1, out.data(), 4);
  EXPECT_EQ(std::string(out.data(), 4), "2345");
  const auto [code, what] = failure([&] { in.read(2, out.data(), 4); });
  EXPECT_EQ(code, Exit::bad_data);
  EXPECT_NE(what.find("ends at byte 5, 1 bytes are missing"), std::string::npos) << what;
}

TEST_F(Files, PathsAreTakenApartAndJoined) {
  EXPECT_EQ(base_name("a/b/"), "b");
  EXPECT_EQ(base_name("/"), "/");
  EXPECT_EQ(base_name("x"), "x");
  EXPECT_EQ(join_path("a", "b"), "a/b");
  EXPECT_EQ(join_path("a/", "b"), "a/b");
  EXPECT_EQ(join_path("", "b"), "b");
  EXPECT_EQ(join_path("a", "/b"), "/b");
  EXPECT_EQ(absolute_path("/a/./b/../c"), "/a/c");
}

TEST_F(Files, AFullDiskNamesPathCauseAndFreeBytes) {
  set_fault("write:1:ENOSPC");
  const auto [code, what] = failure([&] { write_file(at("x"), "hello"); });
  EXPECT_EQ(code, Exit::io);
  EXPECT_NE(what.find(at("x")), std::string::npos);
  EXPECT_NE(what.find("no space left on device; 5 B were still to be written"), std::string::npos)
      << what;
  EXPECT_NE(what.find("bytes) are free"), std::string::npos) << what;
  EXPECT_TRUE(list_directory(root_).empty());
}

TEST_F(Files, ShortAndInterruptedWritesAreFinished) {
  set_fault("write:0:SHORT");
  write_file(at("short"), std::string(1000, 's'));
  set_fault("write:1:EINTR");
  write_file(at("interrupted"), "hello");
  set_fault("");
  EXPECT_EQ(read_file(at("short")), std::string(1000, 's'));
  EXPECT_EQ(read_file(at("interrupted")), "hello");
}

TEST_F(Files, AFaultMustBeSpelledRight) {
  for (const char* bad : {"write", "write:x:EIO", "read:1:EIO", "write:1:EWHAT", "write:-1:EIO"}) {
    EXPECT_EQ(failure([&] { set_fault(bad); }).first, Exit::usage) << bad;
  }
}

TEST_F(Files, AFolderIsWholeAndVerified) {
  save(at("out"), "1", false);
  EXPECT_TRUE(has_manifest(at("out")));
  EXPECT_NO_THROW(verify_directory(at("out")));
  EXPECT_EQ(list_directory(at("out")), (std::vector<std::string>{"a.bin", "manifest.json", "sub"}));
  EXPECT_EQ(failure([&] { save(at("out"), "2", false); }).first, Exit::cannot_create);
  save(at("out/"), "2", true);
  EXPECT_EQ(read_file(at("out/sub/b.bin")), "2b");
  EXPECT_NO_THROW(verify_directory(at("out")));
  EXPECT_EQ(list_directory(root_), std::vector<std::string>{"out"});
  make_directories(at("empty"));
  EXPECT_NO_THROW(save(at("empty"), "3", false));
}

TEST_F(Files, EveryFlippedByteAndEveryTruncationIsFound) {
  save(at("out"), "some bytes", false);
  for (const char* name : {"a.bin", "sub/b.bin", "manifest.json"}) {
    const std::string path = join_path(at("out"), name);
    const std::string good = read_file(path);
    const auto put = [&](const std::string& text) {
      std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
    };
    for (size_t i = 0; i < good.size(); ++i) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ 1);
      put(bad);
      EXPECT_EQ(failure([&] { verify_directory(at("out")); }).first, Exit::bad_data) << name << i;
      put(good.substr(0, i));
      EXPECT_EQ(failure([&] { verify_directory(at("out")); }).first, Exit::bad_data) << name << i;
    }
    put(good);
  }
  EXPECT_NO_THROW(verify_directory(at("out")));
  fs::remove(at("out/a.bin"));
  const auto [code, what] = failure([&] { verify_directory(at("out")); });
  EXPECT_EQ(code, Exit::bad_data);
  EXPECT_NE(what.find("a.bin: is missing"), std::string::npos) << what;
}

TEST_F(Files, EverySingleFaultLeavesTheOldFolderOrTheNewOne) {
  save(at("out"), "old", false);
  int failures = 0;
  for (const char* call : {"open", "write", "fsync", "rename"}) {
    for (const char* how : {"ENOSPC", "EIO"}) {
      for (int n = 1; n <= 20; ++n) {
        set_fault(cat(call, ":", n, ":", how));
        const auto [code, what] = failure([&] { save(at("out"), "new", true); });
        set_fault("");
        EXPECT_NO_THROW(verify_directory(at("out"))) << call << n << how;
        if (code == Exit::done) {
          EXPECT_EQ(read_file(at("out/a.bin")), "newa");
          save(at("out"), "old", true);
          break;
        }
        ++failures;
        EXPECT_TRUE(code == Exit::io) << call << n << how << what;
        save(at("out"), "old", true);
      }
    }
  }
  EXPECT_GT(failures, 20);
}

TEST_F(Files, WithoutASwapTheOldFolderIsMovedAside) {
  save(at("out"), "old", false);
  set_fault("rename:4:EINVAL");  // two files and the manifest come first
  save(at("out"), "new", true);
  set_fault("");
  EXPECT_EQ(read_file(at("out/a.bin")), "newa");
  EXPECT_EQ(list_directory(root_), std::vector<std::string>{"out"});
}

TEST_F(Files, AKilledSaveLeavesTheOldFolderAndALeftoverThatIsRemoved) {
  save(at("out"), "old", false);
  for (const char* call : {"open", "write", "fsync", "rename"}) {
    for (int n = 1; n <= 4; ++n) {
      const pid_t child = ::fork();
      ASSERT_GE(child, 0);
      if (child == 0) {
        set_fault(cat(call, ":", n, ":KILL"));
        save(at("out"), "new", true);
        ::_exit(0);
      }
      int status = 0;
      ASSERT_EQ(::waitpid(child, &status, 0), child);
      EXPECT_NO_THROW(verify_directory(at("out")));
      const bool finished = WIFEXITED(status);
      EXPECT_EQ(remove_leftovers(root_), finished ? 0 : 1) << call << n;
      EXPECT_EQ(list_directory(root_), std::vector<std::string>{"out"});
    }
  }
}

TEST_F(Files, ARunningProcessKeepsItsTemporaries) {
  const OutputDirectory out(at("out"));
  EXPECT_EQ(remove_leftovers(root_), 0);
  EXPECT_EQ(list_directory(root_).size(), 1u);
}

// The values that xxHash's own tools print for the five bytes.
TEST_F(Files, HashesAreThoseOfXxhsum) {
  write_file(at("x"), "hello");
  EXPECT_EQ(hash128_file(at("x")), "b5e9c1ad071b3e7fc779cfaa5e523818");
  const std::string text = "hello";
  EXPECT_EQ(hash128_hex(std::as_bytes(std::span(text.data(), text.size()))), hash128_file(at("x")));
  EXPECT_EQ(hash64("hello"), 0x9555e8555c62dcfdu);
}

}  // namespace
}  // namespace nibble
