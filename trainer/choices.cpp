#include "trainer/choices.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/text.h"
#include "trainer/evaluate.h"
#include "trainer/json_lines.h"

namespace nibble {
namespace {

// Context and choice as one document whose labels are the choice's tokens.
Document document_of(const Tokenizer& tokenizer, const std::string& context,
                     const std::string& choice, int64_t most) {
  const size_t end = context.find_last_not_of(" \t\n\r\f\v");
  const std::string head = context.substr(0, end == std::string::npos ? 0 : end + 1);
  const std::vector<int32_t> before = tokenizer.encode(head);
  Document d;
  d.ids = tokenizer.encode(context + choice);
  d.labels = d.ids;
  std::fill_n(d.labels.begin(), std::min(before.size(), d.labels.size()), -100);
  const auto n = static_cast<int64_t>(d.ids.size());
  if (n > most) {
    d.ids.erase(d.ids.begin(), d.ids.end() - most);
    d.labels.erase(d.labels.begin(), d.labels.end() - most);
  }
  return d;
}

int64_t characters_in(const std::string& text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

template <class Length>
size_t best(const std::vector<double>& loglikelihood, const Length& length) {
  size_t first = 0;
  for (size_t i = 1; i < loglikelihood.size(); ++i)
    if (loglikelihood[i] / length(i) > loglikelihood[first] / length(first)) first = i;
  return first;
}

ChoiceItem read_item(const Json& row, const std::string& where) {
  const auto refuse = [&](const std::string& what) {
    throw UserError(where, what, R"(rows are {"context": "…", "choices": ["…", "…"], "gold": 0})",
                    Exit::bad_data);
  };
  if (!row.is_object()) refuse("is not an object");
  ChoiceItem item;
  item.where = where;
  if (!row.contains("context") || !row["context"].is_string()) refuse("has no text 'context'");
  item.context = row["context"].get<std::string>();
  if (!row.contains("choices") || !row["choices"].is_array() || row["choices"].size() < 2)
    refuse("has no list 'choices' of at least two");
  for (const Json& choice : row["choices"]) {
    if (!choice.is_string() || choice.get<std::string>().empty())
      refuse("has a choice that is empty or no text");
    item.choices.push_back(choice.get<std::string>());
  }
  if (!row.contains("gold") || !row["gold"].is_number_unsigned() ||
      row["gold"].get<size_t>() >= item.choices.size())
    refuse(cat("'gold' is not the index of one of ", item.choices.size(), " choices"));
  item.gold = row["gold"].get<size_t>();
  return item;
}

}  // namespace

double ChoiceReport::share(int64_t count) const {
  return items.empty() ? 0 : static_cast<double>(count) / static_cast<double>(items.size());
}

double ChoiceReport::standard_error(int64_t count) const {
  if (items.size() < 2) return 0;
  const double p = share(count);
  return std::sqrt(p * (1 - p) / static_cast<double>(items.size() - 1));
}

std::vector<ChoiceItem> read_choices(const std::string& path) {
  std::vector<ChoiceItem> items;
  for_each_json_line(path, [&](const Json& row, const std::string& where) {
    items.push_back(read_item(row, where));
  });
  if (items.empty())
    throw UserError(path, "holds no question", R"(rows are {"context", "choices", "gold"})",
                    Exit::bad_data);
  return items;
}

ChoiceReport score_choices(const Device& device, const Model& model, const Tokenizer& tokenizer,
                           const std::vector<ChoiceItem>& items,
                           const std::function<void(int64_t, int64_t)>& progress) {
  ChoiceReport report;
  const int64_t most = model.decoder->blueprint().max_positions;
  for (const ChoiceItem& item : items) {
    ChoiceScore one;
    for (const std::string& choice : item.choices) {
      const Document d = document_of(tokenizer, item.context, choice, most);
      const Score s = score(device, model, {d});
      if (s.tokens == 0)
        throw UserError(item.where, cat("choice \"", choice, "\" adds no token to its context"),
                        "a choice needs a token of its own to be scored", Exit::bad_data);
      one.loglikelihood.push_back(-s.nll);
    }
    const auto& c = item.choices;
    one.predicted = best(one.loglikelihood, [](size_t) { return 1.0; });
    one.predicted_norm = best(one.loglikelihood, [&](size_t i) {
      return static_cast<double>(std::max<int64_t>(1, characters_in(c[i])));
    });
    one.predicted_bytes =
        best(one.loglikelihood, [&](size_t i) { return static_cast<double>(c[i].size()); });
    report.right += one.predicted == item.gold;
    report.right_norm += one.predicted_norm == item.gold;
    report.right_bytes += one.predicted_bytes == item.gold;
    report.items.push_back(std::move(one));
    if (progress)
      progress(static_cast<int64_t>(report.items.size()), static_cast<int64_t>(items.size()));
  }
  return report;
}

}  // namespace nibble
