#include "trainer/rows.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "trainer/json_lines.h"

namespace nibble {
namespace {

[[noreturn]] void refuse(const std::string& where, std::string what, std::string hint = "") {
  throw UserError(where, std::move(what), std::move(hint), Exit::bad_data);
}

std::vector<int32_t> integers(const Json& row, const char* key, const std::string& where) {
  const auto it = row.find(key);
  if (it == row.end() || !it->is_array())
    refuse(where, cat("'", key, "' is not a list of integers"));
  std::vector<int32_t> out;
  out.reserve(it->size());
  for (const Json& v : *it) {
    if (!v.is_number_integer() || v.get<int64_t>() > INT32_MAX || v.get<int64_t>() < INT32_MIN)
      refuse(where, cat("'", key, "' holds ", v.dump(), ", not an integer"));
    out.push_back(v.get<int32_t>());
  }
  return out;
}

std::string text_of(const Json& row, const char* key, const std::string& where, bool required) {
  const auto it = row.find(key);
  if (it == row.end() || it->is_null()) {
    if (required) refuse(where, cat("has no '", key, "'"));
    return "";
  }
  if (!it->is_string()) refuse(where, cat("'", key, "' is ", it->type_name(), ", not a string"));
  return it->get<std::string>();
}

size_t common_prefix(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  return static_cast<size_t>(
      std::mismatch(a.begin(),
                    a.begin() + static_cast<std::ptrdiff_t>(std::min(a.size(), b.size())),
                    b.begin())
          .first -
      a.begin());
}

// The template writes the special tokens, a beginning of text too: nothing is added to it.
constexpr Tokenizer::EncodeOptions kPlain{false, true};

// Where a cut of the text falls among its ids: how many ids are the same with and without what
// follows; how many lie before the cut; and whether one crosses it.
struct Cut {
  size_t common = 0, inside = 0;
  bool crossed = false;
};

Cut cut_at(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, const std::string& before) {
  const std::vector<int32_t> shorter = tokenizer.encode(before, kPlain);
  Cut cut;
  cut.common = cut.inside = common_prefix(shorter, ids);
  size_t left = 0;  // bytes between the last common id and the cut
  for (size_t i = cut.common; i < shorter.size(); ++i)
    left += tokenizer.token_bytes(shorter[i]).size();
  for (; left > 0 && cut.inside < ids.size(); ++cut.inside) {
    const size_t bytes = tokenizer.token_bytes(ids[cut.inside]).size();
    cut.crossed = bytes > left;
    if (cut.crossed) break;
    left -= bytes;
  }
  return cut;
}

// A row's tools: a list, or the same as JSON text, as datasets of one type per column have it.
Json tools_of(const Json& row, const std::string& where) {
  const auto it = row.find("tools");
  if (it == row.end() || it->is_null()) return {};
  const Json tools = it->is_string() ? parse_json(it->get_ref<const std::string&>(), where) : *it;
  if (!tools.is_array()) refuse(where, cat("'tools' is ", tools.type_name(), ", not a list"));
  return tools;
}

// A row of `document` ids is several documents; without them it is one.
std::vector<Document> split_documents(const std::vector<int32_t>& ids,
                                      const std::vector<int32_t>& labels,
                                      const std::vector<int32_t>& positions,
                                      const std::vector<int32_t>& document) {
  std::vector<Document> out;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i == 0 || (!document.empty() && document[i] != document[i - 1])) out.emplace_back();
    Document& d = out.back();
    d.ids.push_back(ids[i]);
    d.labels.push_back(labels[i]);
    if (!positions.empty()) d.positions.push_back(positions[i]);
  }
  return out;
}

}  // namespace

int64_t Row::tokens() const {
  int64_t n = 0;
  for (const Document& d : documents) n += static_cast<int64_t>(d.ids.size());
  return n;
}

int64_t Row::targets() const {
  int64_t n = 0;
  for (const Document& d : documents)
    for (size_t i = 1; i < d.labels.size(); ++i) n += d.labels[i] >= 0;
  return n;
}

std::string detect_row_type(const Json& row) {
  if (!row.is_object()) return "";
  if (row.contains("input_ids")) return "tokens";
  if (row.contains("messages")) return "chat_template";
  if (row.contains("instruction") && row.contains("output")) return "alpaca";
  if (row.contains("text")) return "completion";
  return "";
}

const Tokenizer& RowReader::text_tokenizer(const std::string& where) const {
  if (tokenizer == nullptr)
    refuse(where, "is text, and the base model has no tokenizer",
           "put tokenizer.json beside the weights, or train on input_ids (type: tokens)");
  return *tokenizer;
}

Row RowReader::tokens_row(const Json& row, const std::string& where) const {
  const std::vector<int32_t> ids = integers(row, "input_ids", where);
  for (int32_t id : ids)
    if (id < 0 || id >= vocab)
      refuse(where, cat("input_ids holds ", id, ", the model's vocabulary has ", vocab));
  std::vector<int32_t> labels = row.contains("labels") ? integers(row, "labels", where) : ids;
  for (int32_t label : labels)
    if (label != -100 && (label < 0 || label >= vocab))
      refuse(where, cat("labels holds ", label, ", neither -100 nor an id below ", vocab));
  std::vector<int32_t> positions, document;
  if (row.contains("position_ids")) positions = integers(row, "position_ids", where);
  if (row.contains("document")) document = integers(row, "document", where);
  for (const auto& [name, list] :
       {std::pair<const char*, const std::vector<int32_t>*>{"labels", &labels},
        {"position_ids", &positions},
        {"document", &document}})
    if (!list->empty() && list->size() != ids.size())
      refuse(where, cat("'", name, "' has ", list->size(), " entries, input_ids has ", ids.size()));
  for (int32_t position : positions)
    if (position < 0) refuse(where, cat("position_ids holds ", position));
  Row out;
  out.documents = split_documents(ids, labels, positions, document);
  return out;
}

Row RowReader::completion_row(const Json& row, const std::string& where) const {
  const Tokenizer& t = text_tokenizer(where);
  const std::string text = text_of(row, "text", where, true);
  if (text.empty()) refuse(where, "'text' is empty");
  Document d;
  d.ids = t.encode(text);
  if (t.eos() && (d.ids.empty() || d.ids.back() != *t.eos())) d.ids.push_back(*t.eos());
  d.labels = d.ids;
  Row out;
  out.documents.push_back(std::move(d));
  return out;
}

Row RowReader::alpaca_row(const Json& row, const std::string& where) const {
  const Tokenizer& t = text_tokenizer(where);
  const std::string instruction = text_of(row, "instruction", where, true);
  const std::string input = text_of(row, "input", where, false);
  const std::string output = text_of(row, "output", where, true);
  if (instruction.empty() && input.empty()) refuse(where, "'instruction' is empty");
  if (output.empty()) refuse(where, "'output' is empty: there is nothing to learn");
  // Taori et al. 2023, "Stanford Alpaca".
  std::string prompt =
      input.empty()
          ? cat("Below is an instruction that describes a task. Write a response that "
                "appropriately "
                "completes the request.\n\n### Instruction:\n",
                instruction, "\n\n### Response:\n")
          : cat("Below is an instruction that describes a task, paired with an input that provides "
                "further context. Write a response that appropriately completes the request.\n\n"
                "### Instruction:\n",
                instruction, "\n\n### Input:\n", input, "\n\n### Response:\n");
  Document d;
  d.ids = t.encode(prompt + output);
  d.labels = d.ids;
  if (t.eos()) {
    if (d.ids.back() == *t.eos()) d.ids.pop_back();
    d.ids.push_back(*t.eos());
    d.labels = d.ids;
  }
  if (!train_on_inputs) std::fill_n(d.labels.begin(), common_prefix(t.encode(prompt), d.ids), -100);
  Row out;
  out.documents.push_back(std::move(d));
  return out;
}

// Learns what the assistant said. As transformers counts it, a token that crosses the edge of a
// span that the template marks is in it; without marks only tokens that lie inside whole are.
void RowReader::label_replies(const Json& messages, const Json& tools, const std::string& text,
                              Document& d) const {
  d.labels.assign(d.ids.size(), -100);
  const bool marked = chat->has_generation();
  for (const auto& [begin, end] : chat->assistant_spans(messages, tools)) {
    if (begin == end) continue;
    const Cut from = cut_at(*tokenizer, d.ids, text.substr(0, begin));
    const Cut to = cut_at(*tokenizer, d.ids, text.substr(0, end));
    const size_t first = marked ? from.inside : from.common;
    const size_t last = marked ? to.inside + (to.crossed ? 1 : 0) : to.common;
    for (size_t i = first; i < last; ++i) d.labels[i] = d.ids[i];
  }
}

Row RowReader::chat_row(const Json& row, const std::string& where) const {
  const Tokenizer& t = text_tokenizer(where);
  const auto it = row.find("messages");
  if (it == row.end() || !it->is_array() || it->empty()) refuse(where, "has no 'messages'");
  bool answered = false;
  for (const Json& m : *it) {
    if (!m.is_object() || !m.contains("role") || !m["role"].is_string())
      refuse(where, "a message has no role");
    if (!m.contains("content") && !m.contains("tool_calls"))
      refuse(where, "a message has no content");
    answered = answered || m["role"] == "assistant";
  }
  if (!answered && !train_on_inputs)
    refuse(where, "no message is of the assistant: nothing to learn");
  const Json tools = tools_of(row, where);
  try {
    const std::string text = chat->render(*it, false, tools);
    Document d;
    d.ids = t.encode(text, kPlain);
    if (train_on_inputs) {
      d.labels = d.ids;
    } else {
      label_replies(*it, tools, text, d);
    }
    Row out;
    out.documents.push_back(std::move(d));
    return out;
  } catch (const UserError& e) {
    refuse(where, cat("chat template: ", e.message()), e.hint());
  }
}

std::optional<Row> RowReader::read(const Json& row, const std::string& type,
                                   const std::string& where, bool& cut) const {
  if (!row.is_object()) refuse(where, cat("is ", row.type_name(), ", not a JSON object"));
  Row out;
  if (type == "tokens") {
    out = tokens_row(row, where);
  } else if (type == "chat_template") {
    out = chat_row(row, where);
  } else if (type == "alpaca") {
    out = alpaca_row(row, where);
  } else if (type == "completion") {
    out = completion_row(row, where);
  } else {
    refuse(where, "has no usable field",
           "a row has text, or instruction and output, or messages, or input_ids");
  }
  out.where = where;
  if (out.targets() == 0)
    refuse(where, "has nothing to learn: every label is masked",
           "check the labels, or the roles of its messages");
  int64_t room = sequence_len;
  for (size_t i = 0; i < out.documents.size(); ++i) {
    Document& d = out.documents[i];
    if (static_cast<int64_t>(d.ids.size()) > room) {
      cut = true;
      d.ids.resize(static_cast<size_t>(room));
      d.labels.resize(static_cast<size_t>(room));
      if (!d.positions.empty()) d.positions.resize(static_cast<size_t>(room));
      out.documents.resize(i + (room > 0 ? 1 : 0));
      break;
    }
    room -= static_cast<int64_t>(d.ids.size());
  }
  if (out.targets() == 0) return std::nullopt;
  return out;
}

Dataset read_dataset(const DatasetSpec& spec, const RowReader& reader) {
  if (!exists(spec.path) || is_directory(spec.path))
    throw UserError(spec.where, cat("dataset '", spec.path, "' is not a file"),
                    "paths are relative to the folder nibble is started in", Exit::missing_input);
  Dataset data;
  std::string type = spec.type;
  auto add = [&](const Json& json, const std::string& where) {
    if (type.empty()) type = detect_row_type(json);
    bool cut = false;
    std::optional<Row> row = reader.read(json, type, where, cut);
    data.cut += cut;
    if (row) {
      data.rows.push_back(std::move(*row));
    } else {
      if (data.dropped++ == 0) data.first_dropped = where;
    }
  };
  if (ends_with(spec.path, ".json")) {
    const Json list = read_json(spec.path);
    if (!list.is_array()) refuse(spec.path, "is not a list of rows", "use JSONL, or a JSON list");
    for (size_t i = 0; i < list.size(); ++i) add(list[i], cat(spec.path, ": row ", i + 1));
  } else {
    for_each_json_line(spec.path, add);
  }
  if (data.rows.empty())
    refuse(spec.path,
           data.dropped > 0 ? "every row lost its targets at sequence_len" : "has no rows",
           data.dropped > 0 ? "raise sequence_len" : "");
  return data;
}

std::vector<Row> pack_rows(std::vector<Row> rows, int64_t sequence_len) {
  std::vector<size_t> order(rows.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return rows[a].tokens() > rows[b].tokens(); });
  std::vector<Row> packs;
  std::multimap<int64_t, size_t> room;  // free tokens → pack, the fullest fitting one is taken
  for (size_t i : order) {
    const int64_t n = rows[i].tokens();
    auto best = room.lower_bound(n);
    if (best == room.end()) {
      room.emplace(sequence_len - n, packs.size());
      packs.push_back(std::move(rows[i]));
      continue;
    }
    Row& pack = packs[best->second];
    for (Document& d : rows[i].documents) pack.documents.push_back(std::move(d));
    const int64_t left = best->first - n;
    const size_t index = best->second;
    room.erase(best);
    room.emplace(left, index);
  }
  return packs;
}

}  // namespace nibble
