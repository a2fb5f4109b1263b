// GGUF files: hostile ones are refused by name, honest ones load with the values and logits of the
// reference, in every type that nibble reads.
#include "model/files/gguf.h"

#include <cstring>

#include "model/files/gguf_model.h"
#include "model/files/hf_directory.h"
#include "tests/support/model_data.h"

namespace nibble {
namespace {

using testing::golden_path;
using testing::TemporaryFolder;
using testing::write_text;

// Builds files byte by byte, so that they can lie.
struct Bytes {
  std::string text;
  Bytes& u32(uint64_t x) { return number(x, 4); }
  Bytes& u64(uint64_t x) { return number(x, 8); }
  Bytes& raw(std::string_view s) {
    text += s;
    return *this;
  }
  Bytes& str(std::string_view s) { return u64(s.size()).raw(s); }
  Bytes& head(uint64_t tensors, uint64_t keys, uint64_t version = 3) {
    return raw("GGUF").u32(version).u64(tensors).u64(keys);
  }
  Bytes& tensor(std::string_view name, std::vector<uint64_t> dims, uint64_t type, uint64_t offset) {
    str(name).u32(dims.size());
    for (const uint64_t d : dims) u64(d);
    return u32(type).u64(offset);
  }
  Bytes& data(size_t n) {
    text.resize((text.size() + 31) / 32 * 32 + n, '\1');
    return *this;
  }
  Bytes& number(uint64_t x, int n) {
    for (int i = 0; i < n; ++i) text += static_cast<char>(x >> 8 * i & 255);
    return *this;
  }
};

Gguf parse(const std::string& text) {
  return parse_gguf("x.gguf", static_cast<int64_t>(text.size()),
                    [&](int64_t at, void* out, int64_t n) {
                      ASSERT_LE(at + n, static_cast<int64_t>(text.size())) << "read beyond the end";
                      std::memcpy(out, text.data() + at, static_cast<size_t>(n));
                    });
}

void expect_refused(const Bytes& bytes, const std::string& says) {
  try {
    parse(bytes.text);
    ADD_FAILURE() << "accepted, expected: " << says;
  } catch (const UserError& e) {
    EXPECT_EQ(e.code(), Exit::bad_data);
    EXPECT_NE(std::string(e.what()).find(says), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("x.gguf"), std::string::npos) << e.what();
  }
}

constexpr uint64_t kHuge = uint64_t{1} << 62;

TEST(Gguf, ReadsEveryTypeOfValue) {
  Bytes b;
  b.head(1, 5);
  b.str("a").u32(8).str("text");
  b.str("b").u32(9).u32(8).u64(2).str("x").str("");
  b.str("c").u32(1).number(0xfe, 1);
  b.str("d").u32(6).u32(0x3fc00000);
  b.str("e").u32(7).number(1, 1);
  b.tensor("t", {4, 3}, 1, 0).data(24);
  const Gguf file = parse(b.text);
  EXPECT_EQ(file.text("a"), "text");
  EXPECT_EQ(file.array("b", GgufType::string)->strings, (std::vector<std::string>{"x", ""}));
  EXPECT_EQ(file.integer("c"), -2);
  EXPECT_EQ(file.number("d"), 1.5);
  EXPECT_EQ(file.boolean("e"), true);
  EXPECT_EQ(file.integer("none"), std::nullopt);
  ASSERT_EQ(file.tensors.size(), 1u);
  EXPECT_EQ(file.tensors[0].shape, (std::vector<int64_t>{3, 4}));
  EXPECT_EQ(file.tensors[0].bytes, 24);
  EXPECT_THROW(file.integer("a"), UserError);
}

TEST(Gguf, OtherContainersAndVersionsAreNamed) {
  expect_refused(Bytes().raw("PK\3\4").u32(3).data(64), "begins with 'PK?\?'");
  expect_refused(Bytes().raw("tjgg").u32(3).data(64), "GGML file");
  expect_refused(Bytes().raw("GGUF").u32(1).data(64), "version 1");
  expect_refused(Bytes().raw("GGUF").u32(9).data(64), "version 9");
  expect_refused(Bytes().raw("GGUF").u32(0x03000000).data(64), "big-endian");
  expect_refused(Bytes().raw("GG"), "the magic number");
}

TEST(Gguf, CountsThatLieAreRefusedBeforeTheyAreUsed) {
  expect_refused(Bytes().head(kHuge, 0).data(64), "the number of tensors");
  expect_refused(Bytes().head(1000, 0).data(64), "the number of tensors is 1000");
  expect_refused(Bytes().head(0, kHuge).data(64), "the number of keys");
  expect_refused(Bytes().head(0, 1).u64(kHuge).data(64), "the length of a key");
  expect_refused(Bytes().head(0, 1).str("k").u32(8).u64(kHuge).data(64), "the length of a string");
  expect_refused(Bytes().head(0, 1).str("k").u32(9).u32(8).u64(kHuge).data(64), "key 'k'");
  expect_refused(Bytes().head(0, 1).str("k").u32(9).u32(5).u64(1000).data(64), "bytes are left");
  expect_refused(Bytes().head(0, 1).str("k").u32(8).u64(40).raw("short"), "bytes are left");
}

TEST(Gguf, MetadataThatMakesNoSenseIsNamed) {
  expect_refused(Bytes().head(0, 2).str("k").u32(7).number(1, 1).str("k").u32(7).number(1, 1),
                 "occurs twice");
  expect_refused(Bytes().head(0, 1).str("k").u32(13).data(64), "unknown type 13");
  expect_refused(Bytes().head(0, 1).str("k").u32(7).number(2, 1).data(64), "boolean");
  expect_refused(Bytes().head(0, 1).str("").u32(7).number(1, 1).data(64), "is empty");
  Bytes nested;
  nested.head(0, 1).str("deep").u32(9);
  for (int i = 0; i < 1000; ++i) nested.u32(9).u64(1);
  expect_refused(nested, "array of arrays");
  for (const uint64_t bad : {0, 3, 48}) {
    expect_refused(Bytes().head(0, 1).str("general.alignment").u32(4).u32(bad).data(64),
                   "power of two");
  }
  expect_refused(Bytes().head(0, 1).str("general.alignment").u32(8).str("32").data(64),
                 "power of two");
}

TEST(Gguf, TensorsMustLieInTheFileApart) {
  expect_refused(Bytes().head(1, 0).tensor("t", {8}, 0, 0).data(31), "needs the bytes");
  expect_refused(Bytes().head(1, 0).tensor("t", {8}, 0, 17).data(96), "alignment");
  expect_refused(Bytes().head(1, 0).tensor("t", {8}, 0, kHuge).data(96), "begins at");
  expect_refused(Bytes().head(2, 0).tensor("t", {16}, 0, 0).tensor("u", {8}, 0, 32).data(128),
                 "inside tensor 't'");
  expect_refused(Bytes().head(2, 0).tensor("t", {8}, 0, 0).tensor("t", {8}, 0, 32).data(128),
                 "occurs twice");
  expect_refused(Bytes().head(1, 0).tensor("t", {kHuge, 8}, 0, 0).data(96), "62 bits");
  expect_refused(Bytes().head(1, 0).tensor("t", {0}, 0, 0).data(96), "dimension of 0");
  expect_refused(Bytes().head(1, 0).tensor("t", {8, 1, 1, 1, 1}, 0, 0).data(96), "5 dimensions");
  expect_refused(Bytes().head(1, 0).tensor("t", {33}, 2, 0).data(96), "whole Q4_0 blocks");
  expect_refused(Bytes().head(1, 0).tensor("t", {32}, 77, 0).data(96), "unknown type 77");
  expect_refused(Bytes().head(1, 0).tensor(std::string(300, 'n'), {8}, 0, 0).data(96), "name");
}

TEST(Gguf, EveryTruncationOfAFileIsRefused) {
  Bytes b;
  b.head(1, 2).str("general.architecture").u32(8).str("llama");
  b.str("list").u32(9).u32(6).u64(3).u32(1).u32(2).u32(3);
  b.tensor("token_embd.weight", {32, 2}, 8, 0).data(68);
  ASSERT_NO_THROW(parse(b.text));
  for (size_t n = 0; n < b.text.size(); ++n) {
    EXPECT_THROW(parse(b.text.substr(0, n)), UserError) << n;
  }
}

TEST(Gguf, DamagedFilesAreReadOrRefusedAndNothingElse) {
  const std::string whole = read_file(golden_path("models/gguf/tiny-Q4_0.gguf"));
  const Gguf good = parse(whole);
  const auto header = static_cast<uint64_t>(good.tensors[0].begin);
  int refused = 0;
  for (uint64_t i = 0; i < 4000; ++i) {
    std::string text = whole;
    const RngKey key{i, 1, 0, 0};
    for (int64_t hit = 0; hit < 1 + static_cast<int64_t>(i % 3); ++hit) {
      const uint64_t at = random_u32(key, hit, 0) % header;
      text[at] = static_cast<char>(random_u32(key, hit, 1));
    }
    try {
      const Gguf file = parse(text);
      config_of(file, architecture_of(file),
                [](const GgufTensor&) { return std::vector<float>(); });
    } catch (const UserError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 500);
}

TEST(Gguf, WhatTheWriterWritesIsReadBack) {
  const TemporaryFolder folder;
  const std::string path = folder / "x.gguf";
  GgufValue list = GgufValue::array(GgufType::string);
  list.strings = {"a", std::string("b\0c", 3), ""};
  GgufValue scores = GgufValue::array(GgufType::f32);
  scores.reals = {0, -1.5};
  const std::vector<std::pair<std::string, GgufValue>> metadata = {
      {"general.architecture", GgufValue::of(std::string("llama"))},
      {"flag", GgufValue::of(true)},
      {"count", GgufValue::u32(7)},
      {"list", list},
      {"scores", scores}};
  GgufWriter writer(
      path, metadata,
      {{"one", find_gguf_type("f32"), {3}}, {"two", find_gguf_type("Q8_0"), {2, 32}}});
  const std::string one(12, 'x'), two(68, 'y');
  writer.write(one.data(), 12);
  writer.write(two.data(), 68);
  writer.commit();
  const Gguf file = parse_gguf(InputFile(path));
  ASSERT_EQ(file.metadata.size(), metadata.size());
  EXPECT_EQ(file.find("list")->strings, list.strings);
  EXPECT_EQ(file.find("scores")->reals, scores.reals);
  EXPECT_EQ(file.boolean("flag"), true);
  EXPECT_EQ(file.integer("count"), 7);
  ASSERT_EQ(file.tensors.size(), 2u);
  EXPECT_EQ(file.tensors[1].shape, (std::vector<int64_t>{2, 32}));
  const std::string all = read_file(path);
  EXPECT_EQ(all.substr(static_cast<size_t>(file.tensors[0].begin), 12), one);
  EXPECT_EQ(all.substr(static_cast<size_t>(file.tensors[1].begin), 68), two);
}

// ── models ───────────────────────────────────────────────────────────────────────────────────────

void expect_reference_values(const std::string& folder, const std::string& type) {
  const GgufModel model(cat(folder, "/model-", type, ".gguf"));
  const TensorFiles golden = TensorFiles::open_file(folder + "/golden.safetensors");
  Memory memory;
  int compared = 0;
  for (const TensorInfo& info : golden.tensors()) {
    const std::string prefix = cat("dequantized.", type, ".");
    if (!starts_with(info.name, prefix)) continue;
    const std::string gguf = info.name.substr(prefix.size());
    // The file's own order of rows: k is compared before its rows are moved.
    for (const GgufTensor& t : model.header().tensors) {
      if (t.name != gguf) continue;
      const NamedRow row = hf_name(model.architecture(), gguf);
      const Tensor hf = model.read(row.name, memory, Purpose::staging);
      const std::vector<double> want = testing::read_values(golden, info.name);
      const HeadSizes sizes = head_sizes(model.config());
      Tensor wide = hf;
      if (hf.dtype() != DType::f32) {
        wide = Tensor::empty(memory, hf.shape(), DType::f32, Purpose::staging);
        const Device device = Device::cpu(1);
        device.kernels().cast(device.stream(), hf.rows(), hf.cols(), hf.dtype(), hf.raw(),
                              hf.pitch(), DType::f32, wide.raw(), wide.pitch());
      }
      const int64_t cols = t.shape.back(), rows = hf.numel() / cols;
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < cols; ++c)
          ASSERT_EQ(wide.data<float>()[r * cols + c],
                    want[static_cast<size_t>(gguf_row(row.order, sizes, rows, r) * cols + c)])
              << info.name << " " << r << "," << c;
      ++compared;
    }
  }
  EXPECT_GT(compared, 0) << type;
}

const char* const kSharedTypes[] = {"F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"};

TEST(GgufModel, ValuesEqualTheReferenceBitForBit) {
  NIBBLE_REQUIRE_DATA(folder, "golden/models/gguf");
  for (const char* type : kSharedTypes) expect_reference_values(folder, type);
}

void expect_reference_logits(const std::string& folder, const std::string& stem,
                             const std::string& type, CpuTier tier) {
  const Device device = Device::cpu(2, tier);
  const Model model = load_model(device, cat(folder, "/", stem, type, ".gguf"), testing::in_f32());
  const TensorFiles golden = TensorFiles::open_file(folder + "/golden.safetensors");
  const auto logits = testing::logits_of(device, model, testing::read_ids(golden, "input_ids"));
  EXPECT_LT(testing::largest_difference(logits, testing::read_values(golden, cat("logits.", type))),
            2e-4)
      << type << " " << name_of(tier);
}

TEST(GgufModel, LogitsMatchFloat64TransformersInEveryType) {
  NIBBLE_REQUIRE_DATA(folder, "golden/models/gguf");
  for (const char* type : kSharedTypes)
    for (const CpuTier tier : testing::tiers())
      expect_reference_logits(folder, "model-", type, tier);
}

TEST(GgufModel, LogitsOfSmallFilesMatchFloat64Transformers) {
  for (const char* type : {"F16", "Q8_0", "Q4_0"})
    for (const CpuTier tier : testing::tiers())
      expect_reference_logits(golden_path("models/gguf"), "tiny-", type, tier);
}

TEST(GgufModel, FourBitFilesStayFourBitInMemory) {
  NIBBLE_REQUIRE_DATA(folder, "golden/models/gguf");
  const Device device = Device::cpu(1);
  const Model model = load_model(device, folder + "/model-Q4_0.gguf", testing::in_f32());
  for (const Linear* linear : std::as_const(*model.decoder).linears()) {
    ASSERT_NE(linear->weight(), nullptr);
    EXPECT_EQ(linear->weight()->format, Format::q4_0) << linear->path();
    EXPECT_EQ(linear->weight()->bytes(), linear->out() * linear->in() / 32 * 18);
  }
}

TEST(GgufModel, TypesThatAreNotReadAreRefusedByName) {
  NIBBLE_REQUIRE_DATA(folder, "golden/models/gguf");
  const Gguf file = parse_gguf(InputFile(folder + "/blocks.gguf"));
  int refused = 0;
  for (const GgufTensor& t : file.tensors) {
    const TemporaryFolder out;
    GgufValue name = GgufValue::of(std::string("llama"));
    std::vector<std::pair<std::string, GgufValue>> metadata = {{"general.architecture", name}};
    for (const char* key :
         {"context_length", "embedding_length", "block_count", "feed_forward_length"})
      metadata.emplace_back(cat("llama.", key), GgufValue::u32(32));
    metadata.emplace_back("llama.attention.head_count", GgufValue::u32(2));
    metadata.emplace_back("llama.attention.layer_norm_rms_epsilon", GgufValue::f32(1e-5));
    GgufWriter writer(out / "x.gguf", metadata, {{"token_embd.weight", t.type, t.shape}});
    const std::string raw = read_file(folder + "/blocks.gguf");
    writer.write(raw.data() + t.begin, t.bytes);
    writer.commit();
    if (t.type->readable()) {
      EXPECT_NO_THROW(GgufModel(out / "x.gguf")) << t.type->name;
      continue;
    }
    try {
      const GgufModel model(out / "x.gguf");
      ADD_FAILURE() << t.type->name << " was taken";
    } catch (const UserError& e) {
      EXPECT_NE(std::string(e.what()).find(t.type->name), std::string::npos) << e.what();
      EXPECT_EQ(e.code(), Exit::bad_data);
      ++refused;
    }
  }
  EXPECT_EQ(refused, 14);  // of 17 types in the file
}

TEST(GgufModel, RandomBlocksOfKQuantsDecodeToTheReference) {
  NIBBLE_REQUIRE_DATA(folder, "golden/models/gguf");
  const std::string raw = read_file(folder + "/blocks.gguf");
  const TensorFiles golden = TensorFiles::open_file(folder + "/golden.safetensors");
  const Device device = Device::cpu(1);
  int compared = 0;
  for (const GgufTensor& t : parse_gguf(InputFile(folder + "/blocks.gguf")).tensors) {
    if (!t.type->format) continue;
    Tensor bytes = Tensor::empty(device.memory(), {t.shape[0], t.bytes / t.shape[0]}, DType::u8,
                                 Purpose::staging);
    std::memcpy(bytes.raw(), raw.data() + t.begin, static_cast<size_t>(t.bytes));
    const Weight w = block_weight(*t.type->format, bytes, t.shape[1]);
    EXPECT_EQ(testing::values(dequantize(device, w, DType::f32)),
              testing::read_values(golden, cat("blocks.", t.type->name)))
        << t.type->name;
    ++compared;
  }
  EXPECT_EQ(compared, 3);
}

TEST(GgufModel, PartsAdaptersAndOldLayoutsAreNamed) {
  const std::pair<std::pair<const char*, GgufValue>, const char*> cases[] = {
      {{"general.type", GgufValue::of("adapter")}, "'adapter', not a model"},
      {{"split.count", GgufValue::u32(3)}, "one part of a model"},
      {{"general.quantization_version", GgufValue::u32(1)}, "only 2 is known"},
      {{"general.architecture", GgufValue::of("mamba")}, "'mamba', which is not supported"}};
  for (const auto& [key, says] : cases) {
    const TemporaryFolder folder;
    std::vector<std::pair<std::string, GgufValue>> metadata = {key};
    if (metadata[0].first != "general.architecture")
      metadata.emplace_back("general.architecture", GgufValue::of("llama"));
    GgufWriter(folder / "x.gguf", metadata, {}).commit();
    try {
      const GgufModel model(folder / "x.gguf");
      ADD_FAILURE() << key.first;
    } catch (const UserError& e) {
      EXPECT_NE(std::string(e.what()).find(says), std::string::npos) << e.what();
    }
  }
}

TEST(GgufModel, ADirectoryWithOneFileStandsForIt) {
  const TemporaryFolder folder;
  write_text(folder / "a.gguf", "GGUF");
  EXPECT_EQ(resolve_model(folder.path()), folder / "a.gguf");
  write_text(folder / "b.gguf", "GGUF");
  EXPECT_THROW(resolve_model(folder.path()), UserError);
  EXPECT_EQ(resolve_model(folder / "b.gguf"), folder / "b.gguf");
}

TEST(GgufArchitecture, EveryOrderOfRowsIsAPermutation) {
  const HeadSizes sizes{6, 2, 8};
  const std::pair<RowOrder, int64_t> cases[] = {
      {RowOrder::pairs_q, 48}, {RowOrder::pairs_k, 16}, {RowOrder::stacked, 80}};
  for (const auto& [order, rows] : cases) {
    std::vector<bool> seen(static_cast<size_t>(rows));
    for (int64_t r = 0; r < rows; ++r)
      seen.at(static_cast<size_t>(gguf_row(order, sizes, rows, r))) = true;
    EXPECT_EQ(std::count(seen.begin(), seen.end(), true), rows);
  }
  // Head 1 of width 8 begins with the pair (dimension 0, dimension 4).
  EXPECT_EQ(gguf_row(RowOrder::pairs_q, sizes, 48, 8), 8);
  EXPECT_EQ(gguf_row(RowOrder::pairs_q, sizes, 48, 12), 9);
}

TEST(GgufArchitecture, NamesTranslateBothWays) {
  for (const GgufArchitecture& a : gguf_architectures())
    for (const GgufTensorRow& row : a.tensors) {
      std::string gguf = row.gguf;
      if (const size_t hole = gguf.find("%d"); hole != std::string::npos)
        gguf.replace(hole, 2, "17");
      const NamedRow hf = hf_name(a, gguf + ".weight");
      ASSERT_NE(hf.name, "") << a.name << " " << gguf;
      EXPECT_EQ(gguf_name(a, hf.name).name, gguf + ".weight") << a.name;
    }
  EXPECT_EQ(hf_name(gguf_architectures()[0], "blk.0.ssm_a.weight").name, "");
}

}  // namespace
}  // namespace nibble
