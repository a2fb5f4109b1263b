#include "trainer/evaluate.h"

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/json.h"
#include "trainer/json_lines.h"

namespace nibble {
namespace {

const Tokenizer& need(const Tokenizer* tokenizer, const std::string& where) {
  if (tokenizer == nullptr)
    throw UserError(where, "is text, and the model has no tokenizer",
                    "give token ids (input_ids), or put tokenizer.json beside the weights",
                    Exit::bad_data);
  return *tokenizer;
}

std::vector<int32_t> read_ids(const Json& list, int64_t vocab, const std::string& where) {
  std::vector<int32_t> ids;
  for (const Json& id : list) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= vocab)
      throw UserError(where, cat("input_ids holds ", id.dump(), ", the vocabulary has ", vocab), "",
                      Exit::bad_data);
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

std::vector<int32_t> row_ids(const Json& row, const Tokenizer* tokenizer, int64_t vocab,
                             const std::string& where) {
  if (row.is_object() && row.contains("input_ids") && row["input_ids"].is_array())
    return read_ids(row["input_ids"], vocab, where);
  if (row.is_object() && row.contains("text") && row["text"].is_string())
    return need(tokenizer, where).encode(row["text"].get<std::string>());
  throw UserError(where, "has neither 'text' nor 'input_ids'", "each row is one document",
                  Exit::bad_data);
}

}  // namespace

Document predict_all(std::vector<int32_t> ids, int64_t sample) {
  Document d;
  d.labels = ids;
  d.ids = std::move(ids);
  d.sample = sample;
  return d;
}

Score score(const Device& device, const Model& model, const std::vector<Document>& documents,
            int64_t batch_tokens, const std::function<void(int64_t, int64_t)>& progress) {
  Score total;
  Ctx ctx(device, model.options.compute);
  for (size_t at = 0; at < documents.size();) {
    std::vector<Document> some;
    int64_t tokens = 0;
    while (at < documents.size()) {
      const auto n = static_cast<int64_t>(documents[at].ids.size());
      if (!some.empty() && tokens + n > batch_tokens) break;
      if (n > 1) some.push_back(documents[at]);
      tokens += n;
      ++at;
    }
    if (some.empty()) continue;
    PackedBatch batch = pack(device.memory(), some);
    ForwardContext context{ctx};
    context.packed = &batch.segments;
    context.adapters = {{0, 0, batch.segments.tokens}};
    Var hidden = model.decoder->hidden(context, batch.ids);
    total.nll += *model.decoder->loss(context, hidden, batch.labels).value().data<double>();
    total.tokens += batch.target_tokens;
    if (progress) progress(static_cast<int64_t>(at), static_cast<int64_t>(documents.size()));
  }
  return total;
}

std::vector<Document> read_scored_file(const std::string& path, const Tokenizer* tokenizer,
                                       int64_t context, int64_t vocab) {
  std::vector<Document> documents;
  if (!ends_with(path, ".jsonl")) {
    std::vector<int32_t> ids = need(tokenizer, path).encode(read_file(path));
    for (size_t at = 0; at < ids.size(); at += static_cast<size_t>(context)) {
      const size_t end = std::min(ids.size(), at + static_cast<size_t>(context));
      documents.push_back(predict_all({ids.begin() + static_cast<std::ptrdiff_t>(at),
                                       ids.begin() + static_cast<std::ptrdiff_t>(end)},
                                      static_cast<int64_t>(documents.size())));
    }
    return documents;
  }
  for_each_json_line(path, [&](const Json& row, const std::string& where) {
    std::vector<int32_t> ids = row_ids(row, tokenizer, vocab, where);
    if (static_cast<int64_t>(ids.size()) > context) ids.resize(static_cast<size_t>(context));
    documents.push_back(predict_all(std::move(ids), static_cast<int64_t>(documents.size())));
  });
  return documents;
}

}  // namespace nibble
