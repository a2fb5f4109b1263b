// The walls between the rooms, checked on the source as it lies on disk: who includes whom, which
// libraries stay inside .cpp files, how long a file may get.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "tests/support/data.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

// A room may include itself and every room of a lower floor. Rooms of one floor do not know each
// other.
const std::map<std::string, int> kFloors{
    {"base", 0},  {"kernels", 1}, {"quant", 2},   {"comm", 2},    {"autograd", 3},
    {"optim", 4}, {"model", 5},   {"trainer", 6}, {"serving", 6}, {"cli", 7}};

// Libraries whose headers cost seconds: only .cpp files pay, and only once.
const std::vector<std::string> kHeavy{"nlohmann/json.hpp", "boost/",     "Eigen/",
                                      "spdlog/",           "fmt/",       "simdjson.h",
                                      "libfyaml.h",        "cxxopts.hpp"};

// Headers that only their own room's reader sees, each with the library it may include.
const std::map<std::string, std::string> kPrivateHeaders{
    {"model/text/tokenizer_json_reader.h", "simdjson.h"}};

constexpr size_t kMostLines = 600;

struct Include {
  std::string file;    // "model/decoder.cpp"
  std::string target;  // "autograd/ops.h"
  int line = 0;
  bool quoted = false;
};

bool is_source(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".cpp" || extension == ".h" || extension == ".inc" || extension == ".inl" ||
         extension == ".def" || extension == ".cu";
}

std::vector<fs::path> sources_below(const std::string& folder) {
  std::vector<fs::path> out;
  const fs::path root = fs::path(testing::source_path("")) / folder;
  if (!fs::is_directory(root)) return out;
  for (const auto& entry : fs::recursive_directory_iterator(root))
    if (entry.is_regular_file() && is_source(entry.path())) out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  return out;
}

std::string name_of(const fs::path& path) {
  return path.lexically_relative(testing::source_path("")).generic_string();
}

std::vector<std::string> lines_of(const fs::path& path) {
  std::ifstream in(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::vector<Include> includes_of(const fs::path& path) {
  std::vector<Include> out;
  int number = 0;
  for (const std::string& line : lines_of(path)) {
    ++number;
    const size_t start = line.find_first_not_of(" \t");
    if (start == std::string::npos || line.compare(start, 8, "#include") != 0) continue;
    const size_t open = line.find_first_of("<\"", start + 8);
    if (open == std::string::npos) continue;  // a macro
    const bool quoted = line[open] == '"';
    const size_t close = line.find(quoted ? '"' : '>', open + 1);
    if (close == std::string::npos) continue;
    out.push_back({name_of(path), line.substr(open + 1, close - open - 1), number, quoted});
  }
  return out;
}

std::string room_of(const std::string& path) { return path.substr(0, path.find('/')); }

std::string place(const Include& include) {
  return include.file + ":" + std::to_string(include.line) + " includes " + include.target;
}

std::vector<Include> all_includes() {
  std::vector<Include> all;
  for (const auto& [room, floor] : kFloors)
    for (const fs::path& path : sources_below(room))
      for (Include& include : includes_of(path)) all.push_back(std::move(include));
  return all;
}

TEST(Layering, FindsTheRoomsItChecks) {
  for (const char* room : {"base", "kernels", "quant", "autograd", "optim", "model", "trainer"})
    EXPECT_FALSE(sources_below(room).empty()) << room;
  EXPECT_GT(all_includes().size(), 100u);
}

TEST(Layering, EveryQuotedIncludeNamesARoom) {
  for (const Include& include : all_includes())
    if (include.quoted) {
      EXPECT_TRUE(kFloors.count(room_of(include.target))) << place(include);
    }
}

TEST(Layering, NoRoomIncludesOneOfItsOwnFloorOrAbove) {
  for (const Include& include : all_includes()) {
    const auto target = kFloors.find(room_of(include.target));
    if (!include.quoted || target == kFloors.end()) continue;
    const std::string from = room_of(include.file);
    EXPECT_TRUE(from == target->first || target->second < kFloors.at(from)) << place(include);
  }
}

TEST(Layering, TrainerAndServingNeverIncludeEachOther) {
  for (const Include& include : all_includes()) {
    const std::string from = room_of(include.file), to = room_of(include.target);
    EXPECT_FALSE(from == "trainer" && to == "serving") << place(include);
    EXPECT_FALSE(from == "serving" && to == "trainer") << place(include);
  }
}

TEST(Layering, OnlySourceFilesIncludeHeavyLibraries) {
  for (const Include& include : all_includes()) {
    if (fs::path(include.file).extension() == ".cpp") continue;
    const auto granted = kPrivateHeaders.find(include.file);
    if (granted != kPrivateHeaders.end() && granted->second == include.target) continue;
    for (const std::string& heavy : kHeavy)
      EXPECT_NE(include.target.compare(0, heavy.size(), heavy), 0) << place(include);
  }
}

TEST(Layering, NoFileIsLongerThan600Lines) {
  std::vector<fs::path> all = sources_below("tests");
  for (const auto& [room, floor] : kFloors)
    for (fs::path& path : sources_below(room)) all.push_back(std::move(path));
  for (const fs::path& path : all) {
    if (path.extension() == ".inc") continue;  // generated tables
    EXPECT_LE(lines_of(path).size(), kMostLines) << name_of(path);
  }
}

}  // namespace
}  // namespace nibble
