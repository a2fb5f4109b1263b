#include "model/files/safetensors.h"

#include "tests/support/model_data.h"

namespace nibble {
namespace {

using testing::TemporaryFolder;
using testing::write_text;

std::string with_header(const std::string& header, size_t data_bytes) {
  std::string file(8, '\0');
  for (int i = 0; i < 8; ++i)
    file[static_cast<size_t>(i)] = static_cast<char>(header.size() >> (8 * i));
  return file + header + std::string(data_bytes, '\1');
}

TEST(Safetensors, WritesWhatItReads) {
  TemporaryFolder folder;
  Memory memory;
  Tensor a = Tensor::empty(memory, {2, 3}, DType::f32, Purpose::staging);
  Tensor b = Tensor::empty(memory, {5}, DType::u8, Purpose::staging);
  for (int i = 0; i < 6; ++i) a.data<float>()[i] = static_cast<float>(i) / 3;
  for (int i = 0; i < 5; ++i) b.data<uint8_t>()[i] = static_cast<uint8_t>(250 + i);
  write_safetensors(folder / "x.safetensors", {{"a", a}, {"b", b}, {"window", a.columns(1, 3)}});
  const TensorFiles files = TensorFiles::open_file(folder / "x.safetensors");
  EXPECT_EQ(files.tensors().size(), 3U);
  EXPECT_EQ(testing::read_values(files, "a"), testing::values(a));
  EXPECT_EQ(testing::read_values(files, "window"),
            (std::vector<double>{1.0F / 3, 2.0F / 3, 4.0F / 3, 5.0F / 3}));
  EXPECT_EQ(files.get("b").dtype_name, "U8");
}

TEST(Safetensors, ALengthKnownLastChangesTheHeaderAndNothingElse) {
  TemporaryFolder folder;
  Memory memory;
  Tensor a = Tensor::empty(memory, {7}, DType::u8, Purpose::staging);
  for (int i = 0; i < 7; ++i) a.data<uint8_t>()[i] = static_cast<uint8_t>(i + 1);
  SafetensorsWriter writer(folder / "x.safetensors",
                           {{"short", DType::u8, {1000}, true}, {"after", DType::u8, {7}}});
  writer.write(a);
  writer.write(a);
  writer.commit();
  const TensorFiles files = TensorFiles::open_file(folder / "x.safetensors");
  EXPECT_EQ(files.get("short").shape, std::vector<int64_t>{7});
  for (const char* name : {"short", "after"}) {
    const Tensor back = files.read(name, memory, Purpose::staging);
    EXPECT_EQ(std::memcmp(back.raw(), a.raw(), 7), 0) << name;
  }
}

TEST(Safetensors, RefusesLyingHeadersByName) {
  TemporaryFolder folder;
  const std::vector<std::pair<std::string, std::string>> cases{
      {with_header(R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4),
       "needs 8 bytes"},
      {with_header(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 3),
       "the file holds 3"},
      {with_header(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8), "a hole"},
      {with_header(R"({"t":{"dtype":"Q7","shape":[1],"data_offsets":[0,4]}})", 4), "unknown dtype"},
      {with_header(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                   R"("b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
                   6),
       "inside"},
      {with_header(R"({"t":{"dtype":"U8","shape":[4611686018427387904,4],"data_offsets":[0,4]}})",
                   4),
       "overflows"},
      {std::string(7, 'x'), "has 7 bytes"},
      {with_header("[]", 0), "not an object"}};
  for (const auto& [bytes, part] : cases) {
    write_text(folder / "bad.safetensors", bytes);
    try {
      SafetensorsFile file(folder / "bad.safetensors");
      ADD_FAILURE() << "accepted: " << part;
    } catch (const UserError& e) {
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
      EXPECT_EQ(e.code(), Exit::bad_data);
    }
  }
}

TEST(Safetensors, AcceptsAndRefusesTheConformanceFiles) {
  NIBBLE_REQUIRE_DATA(folder, "data/conformance/safetensors-cases");
  int seen = 0;
  for (const Json& item : read_json(folder + "/manifest.json")) {
    const std::string path = folder + "/" + item["file"].get<std::string>();
    if (!exists(path)) continue;
    ++seen;
    bool accepted = true;
    try {
      SafetensorsFile file(path);
    } catch (const UserError&) {
      accepted = false;
    } catch (const UserErrors&) {
      accepted = false;
    }
    EXPECT_EQ(accepted, item["accept"].get<bool>()) << item["file"] << ": " << item["why"];
  }
  EXPECT_GT(seen, 20);
}

TEST(Safetensors, ShardsAndTheirIndexMustAgree) {
  NIBBLE_REQUIRE_DATA(folder, "data/conformance/safetensors-cases");
  EXPECT_EQ(TensorFiles::open(folder + "/sharded_ok").tensors().size(), 2U);
  EXPECT_THROW(TensorFiles::open(folder + "/sharded_wrong_map"), UserError);
}

TEST(Safetensors, AMissingTensorNamesTheNearest) {
  TemporaryFolder folder;
  Memory memory;
  write_safetensors(
      folder / "x.safetensors",
      {{"model.norm.weight", Tensor::zeros(memory, {2}, DType::f32, Purpose::staging)}});
  try {
    (void)TensorFiles::open_file(folder / "x.safetensors").get("model.norms.weight");
    ADD_FAILURE();
  } catch (const UserError& e) {
    EXPECT_NE(e.hint().find("model.norm.weight"), std::string::npos);
  }
}

}  // namespace
}  // namespace nibble
