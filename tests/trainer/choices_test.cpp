// Multiple choice against the harness' own rules, recorded in float64.
#include "trainer/choices.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "tests/support/data.h"
#include "tests/support/model_data.h"

namespace nibble {
namespace {

TEST(Choices, LikelihoodsAndAccuraciesEqualTheSharedVectors) {
  NIBBLE_REQUIRE_DATA(directory, "golden/models/eval");
  const Json golden = read_json(join_path(directory, "choices.json"));
  const auto items = read_choices(join_path(directory, "choices.jsonl"));
  ASSERT_EQ(items.size(), golden["items"].size());
  const Device device = Device::cpu(1);
  LoadOptions options;
  options.compute = DType::f32;
  const std::string place = join_path(directory, "model");
  const Model model = load_model(device, place, options);
  const ChoiceReport report = score_choices(device, model, *Tokenizer::load(place), items);
  for (size_t i = 0; i < items.size(); ++i) {
    const Json& want = golden["items"][i];
    const ChoiceScore& got = report.items[i];
    for (size_t c = 0; c < items[i].choices.size(); ++c)
      EXPECT_NEAR(got.loglikelihood[c], want["loglikelihood"][c].get<double>(), 1e-3) << i;
    EXPECT_EQ(got.predicted, want["predicted"].get<size_t>()) << i;
    EXPECT_EQ(got.predicted_norm, want["predicted_norm"].get<size_t>()) << i;
    EXPECT_EQ(got.predicted_bytes, want["predicted_bytes"].get<size_t>()) << i;
  }
  EXPECT_DOUBLE_EQ(report.share(report.right), golden["acc"].get<double>());
  EXPECT_DOUBLE_EQ(report.share(report.right_norm), golden["acc_norm"].get<double>());
  EXPECT_DOUBLE_EQ(report.share(report.right_bytes), golden["acc_bytes"].get<double>());
  EXPECT_NEAR(report.standard_error(report.right), golden["acc_stderr"].get<double>(), 1e-12);
}

TEST(Choices, AMistakeInAFileIsNamedWithItsLine) {
  const testing::TemporaryFolder folder;
  const std::string path = join_path(folder.path(), "q.jsonl");
  const auto message = [&](const std::string& row) {
    write_file(path, R"({"context": "a", "choices": ["b", "c"], "gold": 1})"
                     "\n" +
                         row + "\n");
    try {
      read_choices(path);
    } catch (const UserError& e) {
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  for (const char* row :
       {R"({"choices": ["b", "c"], "gold": 0})", R"({"context": "a", "choices": ["b"], "gold": 0})",
        R"({"context": "a", "choices": ["b", ""], "gold": 0})",
        R"({"context": "a", "choices": ["b", "c"], "gold": 2})", R"([1])"})
    EXPECT_NE(message(row).find("q.jsonl:2"), std::string::npos) << message(row);
}

}  // namespace
}  // namespace nibble
