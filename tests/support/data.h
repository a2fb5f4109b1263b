// Where test data outside the tree lies: NIBBLE_TEST_DATA names a folder with data/ and golden/.
// A test that needs a file asks for it and is skipped, by name, when it is not there.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace nibble::testing {

inline std::string data_path(const std::string& relative) {
  const char* root = std::getenv("NIBBLE_TEST_DATA");
  if (root == nullptr || *root == 0) return "";
  std::string path = std::string(root) + "/" + relative;
  return std::filesystem::exists(path) ? path : "";
}

// Vectors that live in the tree (tests/golden), always present.
std::string golden_path(const std::string& relative);
std::string source_path(const std::string& relative);  // of the checkout

}  // namespace nibble::testing

// Declares `variable` as the path of shared test data, or skips the test aloud.
#define NIBBLE_REQUIRE_DATA(variable, relative)                        \
  const std::string variable = ::nibble::testing::data_path(relative); \
  if (variable.empty()) GTEST_SKIP() << "skipped: " << relative << " is not below NIBBLE_TEST_DATA"
