// The table is written out once; a name typed is looked up in it after a module path is taken off.
#include "optim/names.h"

#include <algorithm>

#include "base/text.h"

namespace nibble {
namespace {

struct Rule {
  const char *rule, *of_class, *summary;
};
const Rule kRules[] = {
#define RULE(rule, of_class, summary) {#rule, #of_class, summary},
#define SPELLING(typed, rule, bits, paged)
#define REFUSED(typed, why)
#include "optim/optimizer_names.def"
#undef RULE
#undef SPELLING
#undef REFUSED
};

struct Spelling {
  std::string typed;
  OptimizerName name;
};
const Spelling kSpellings[] = {
#define RULE(rule, of_class, summary)
#define SPELLING(typed, rule, bits, paged) {#typed, {#rule, bits, paged}},
#define REFUSED(typed, why)
#include "optim/optimizer_names.def"
#undef RULE
#undef SPELLING
#undef REFUSED
};

struct Refused {
  const char *typed, *why;
};
const Refused kRefused[] = {
#define RULE(rule, of_class, summary)
#define SPELLING(typed, rule, bits, paged)
#define REFUSED(typed, why) {#typed, why},
#include "optim/optimizer_names.def"
#undef RULE
#undef SPELLING
#undef REFUSED
};

// "adamw" and "adamw_32bit" are one, as "AdamW" and "AdamW32bit" are.
OptimizerRow row_of(const Rule& rule, int bits, bool paged) {
  OptimizerRow row;
  row.name = {rule.rule, bits, paged};
  row.summary = rule.summary;
  const std::string lower = cat(paged ? "paged_" : "", rule.rule);
  const std::string upper = cat(paged ? "Paged" : "", rule.of_class);
  if (bits == 8) {
    row.spellings = {cat(lower, "_8bit"), cat(upper, "8bit")};
  } else {
    row.spellings = {lower, cat(lower, "_32bit"), upper, cat(upper, "32bit")};
  }
  for (const Spelling& s : kSpellings)
    if (s.name.rule == rule.rule && s.name.bits == bits && s.name.paged == paged)
      row.spellings.push_back(s.typed);
  return row;
}

// A class by its full path; torch has five of them, in 32 bits.
std::string_view without_module(std::string_view typed) {
  for (const std::string_view module : {"bitsandbytes.optim.", "bnb.optim."})
    if (starts_with(typed, module)) return typed.substr(module.size());
  constexpr std::string_view kTorch = "torch.optim.";
  if (!starts_with(typed, kTorch)) return typed;
  const std::string_view rest = typed.substr(kTorch.size());
  for (const char* known : {"AdamW", "Adam", "SGD", "RMSprop", "Adagrad"})
    if (rest == known) return rest;
  return typed;
}

}  // namespace

std::string OptimizerName::str() const {
  return cat(paged ? "paged_" : "", rule, bits == 8 ? "_8bit" : "");
}

std::vector<OptimizerRow> optimizer_rows() {
  std::vector<OptimizerRow> rows;
  for (const Rule& rule : kRules)
    for (const bool paged : {false, true})
      for (const int bits : {32, 8}) rows.push_back(row_of(rule, bits, paged));
  return rows;
}

std::optional<OptimizerName> optimizer_named(std::string_view typed) {
  const std::string_view name = without_module(typed);
  for (const OptimizerRow& row : optimizer_rows())
    if (std::find(row.spellings.begin(), row.spellings.end(), name) != row.spellings.end())
      return row.name;
  return std::nullopt;
}

std::optional<std::string> optimizer_refused(std::string_view typed) {
  for (const Refused& r : kRefused)
    if (typed == r.typed) return r.why;
  return std::nullopt;
}

std::vector<std::string> optimizer_spellings() {
  std::vector<std::string> all;
  for (const OptimizerRow& row : optimizer_rows())
    all.insert(all.end(), row.spellings.begin(), row.spellings.end());
  return all;
}

}  // namespace nibble
