#include "trainer/rows.h"

#include <set>

#include "tests/support/model_data.h"
#include "trainer/order.h"

namespace nibble {
namespace {

RowReader ids_only(int64_t length = 64) {
  RowReader reader;
  reader.vocab = 100;
  reader.sequence_len = length;
  return reader;
}

Row row_of(std::vector<int32_t> ids) {
  bool cut = false;
  return *ids_only().read(Json{{"input_ids", ids}}, "tokens", "t:1", cut);
}

TEST(Rows, DocumentIdsPartARow) {
  bool cut = false;
  const auto row = ids_only().read(
      parse_json(R"({"input_ids":[1,2,3,4,5],"labels":[-100,2,-100,4,5],"document":[0,0,1,1,1]})",
                 "t"),
      "tokens", "t:1", cut);
  ASSERT_TRUE(row.has_value());
  ASSERT_EQ(row->documents.size(), 2U);
  EXPECT_EQ(row->documents[1].ids, (std::vector<int32_t>{3, 4, 5}));
  EXPECT_EQ(row->targets(), 3);
}

TEST(Rows, ALongRowIsCutAndCountedAndOneWithoutTargetsLeftOut) {
  bool cut = false;
  const Json long_row = parse_json(R"({"input_ids":[1,2,3,4,5],"labels":[-100,2,3,4,5]})", "t");
  EXPECT_EQ(ids_only(3).read(long_row, "tokens", "t:1", cut)->tokens(), 3);
  EXPECT_TRUE(cut);
  const Json late =
      parse_json(R"({"input_ids":[1,2,3,4,5],"labels":[-100,-100,-100,-100,5]})", "t");
  EXPECT_FALSE(ids_only(3).read(late, "tokens", "t:1", cut).has_value());
}

TEST(Rows, PackingKeepsEveryDocumentWholeAndNeverOverfills) {
  std::vector<Row> rows;
  int64_t tokens = 0;
  for (int i = 0; i < 50; ++i) {
    rows.push_back(row_of(std::vector<int32_t>(static_cast<size_t>(2 + (i * 13) % 40), 7)));
    tokens += rows.back().tokens();
  }
  const auto packs = pack_rows(rows, 64);
  int64_t packed = 0;
  size_t documents = 0;
  for (const Row& p : packs) {
    EXPECT_LE(p.tokens(), 64);
    packed += p.tokens();
    documents += p.documents.size();
  }
  EXPECT_EQ(packed, tokens);
  EXPECT_EQ(documents, 50U);
  EXPECT_LT(packs.size(), 20U);  // 1,050 tokens need at least 17 packs of 64
}

TEST(Order, EveryEpochSeesEveryRowOnceInItsOwnOrder) {
  OrderOptions o;
  o.rows = 23;
  o.micro_batch_size = 2;
  o.accumulation = 5;
  o.seed = 3;
  const Order order(o);
  EXPECT_EQ(order.steps_per_epoch(), 3);
  std::vector<std::vector<int64_t>> epochs(2);
  for (int64_t s = 0; s < 6; ++s)
    for (const auto& micro : order.step(s))
      for (int64_t r : micro) epochs[static_cast<size_t>(s / 3)].push_back(r);
  for (const auto& e : epochs) {
    EXPECT_EQ(e.size(), 23U);
    EXPECT_EQ(std::set<int64_t>(e.begin(), e.end()).size(), 23U);
  }
  EXPECT_NE(epochs[0], epochs[1]);
}

TEST(Order, FileOrderWithoutShuffle) {
  OrderOptions o;
  o.rows = 5;
  o.micro_batch_size = 2;
  o.accumulation = 2;
  o.shuffle = false;
  const Order order(o);
  EXPECT_EQ(order.step(0), (std::vector<std::vector<int64_t>>{{0, 1}, {2, 3}}));
  EXPECT_EQ(order.step(1), (std::vector<std::vector<int64_t>>{{4}}));
  EXPECT_EQ(order.step(2), order.step(0));
}

TEST(Order, HeldOutRowsAreApartAndTheSameForASeed) {
  const Split2 a = hold_out(40, 6, 1), b = hold_out(40, 6, 1), c = hold_out(40, 6, 2);
  EXPECT_EQ(a.held_out, b.held_out);
  EXPECT_NE(a.held_out, c.held_out);
  EXPECT_EQ(a.held_out.size(), 6U);
  EXPECT_EQ(a.train.size(), 34U);
}

// tests/golden/jinja/masks.json: transformers' return_assistant_tokens_mask.
TEST(Rows, LearnTheTokensThatGenerationMarksNameAsTransformersDoes) {
  const Json golden = read_json(testing::golden_path("jinja/masks.json"));
  const auto tokenizer = Tokenizer::load(testing::source_path("examples/quickstart/base"));
  int64_t crossed = 0;
  for (const Json& row : golden["cases"]) {
    SCOPED_TRACE(row["name"].get<std::string>() + row["messages"].dump());
    const ChatTemplate chat(row["template"].get<std::string>(), "<s>", "</s>");
    RowReader reader = ids_only(512);
    reader.tokenizer = tokenizer.get();
    reader.chat = &chat;
    reader.vocab = tokenizer->vocab_size();
    if (row["learn"].empty()) continue;
    bool cut = false;
    const auto out = reader.read(Json{{"messages", row["messages"]}}, "chat_template", "t:1", cut);
    ASSERT_TRUE(out.has_value());
    const Document& d = out->documents[0];
    EXPECT_EQ(d.ids, row["ids"].get<std::vector<int32_t>>());
    std::vector<size_t> learned;
    for (size_t i = 0; i < d.labels.size(); ++i)
      if (d.labels[i] != -100) learned.push_back(i);
    EXPECT_EQ(learned, row["learn"].get<std::vector<size_t>>());
    crossed += row["name"] == "edges inside tokens";
  }
  EXPECT_GT(crossed, 0);
}

TEST(Rows, GiveTheTemplateTheToolsOfARow) {
  const auto tokenizer = Tokenizer::load(testing::source_path("examples/quickstart/base"));
  const ChatTemplate chat(
      "{{ tools[0].name }}{% for m in messages %}{{ m.tool_calls[0].name if m.tool_calls else "
      "m.content }}{% endfor %}",
      "", "");
  RowReader reader = ids_only(512);
  reader.tokenizer = tokenizer.get();
  reader.chat = &chat;
  reader.vocab = tokenizer->vocab_size();
  reader.train_on_inputs = true;
  const Json messages = parse_json(
      R"([{"role":"user","content":"a"},{"role":"assistant","tool_calls":[{"name":"call"}]}])",
      "t");
  for (const Json& tools : {parse_json(R"([{"name":"f"}])", "t"), Json(R"([{"name":"f"}])")}) {
    bool cut = false;
    const auto row =
        reader.read(Json{{"messages", messages}, {"tools", tools}}, "chat_template", "t:1", cut);
    EXPECT_EQ(tokenizer->decode(row->documents[0].ids), "facall");
  }
  bool cut = false;
  EXPECT_THROW(reader.read(Json{{"messages", messages}, {"tools", 5}}, "chat_template", "t:1", cut),
               UserError);
}

}  // namespace
}  // namespace nibble
