// Training rows: what a dataset's line becomes. Labels are masked by position, never by the pad id,
// and every mistake names file:line.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "model/model.h"
#include "model/text/chat_template.h"
#include "model/text/tokenizer.h"
#include "trainer/recipe.h"

namespace nibble {

struct Row {
  std::vector<Document> documents;
  std::string where;  // file:line
  int64_t tokens() const;
  int64_t targets() const;  // labels that count
};

// How rows become tokens. tokenizer and chat may be null: a model without them trains on ids.
struct RowReader {
  const Tokenizer* tokenizer = nullptr;
  const ChatTemplate* chat = nullptr;
  int64_t vocab = 0;
  int64_t sequence_len = 2048;
  bool train_on_inputs = false;

  // One parsed line. Throws UserError (exit 65) when it is not of the type, has no usable field or
  // nothing to learn. A row that loses its targets by being cut gives no value.
  std::optional<Row> read(const Json& row, const std::string& type, const std::string& where,
                          bool& cut) const;

 private:
  Row tokens_row(const Json& row, const std::string& where) const;
  Row completion_row(const Json& row, const std::string& where) const;
  Row alpaca_row(const Json& row, const std::string& where) const;
  Row chat_row(const Json& row, const std::string& where) const;
  void label_replies(const Json& messages, const Json& tools, const std::string& text,
                     Document& d) const;
  const Tokenizer& text_tokenizer(const std::string& where) const;
};

// The type a row looks like, or "".
std::string detect_row_type(const Json& row);

struct Dataset {
  std::vector<Row> rows;
  int64_t cut = 0;      // rows shortened to sequence_len
  int64_t dropped = 0;  // rows whose targets all lay beyond it
  std::string first_dropped;
};
Dataset read_dataset(const DatasetSpec& spec, const RowReader& reader);

// Rows packed side by side (best fit, longest first; ties in row order): each result has at most
// `sequence_len` tokens and keeps its documents apart.
std::vector<Row> pack_rows(std::vector<Row> rows, int64_t sequence_len);

}  // namespace nibble
