// nibble merge BASE ADAPTER OUT: an adapter becomes part of its base, as a Hugging Face directory.
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/log.h"
#include "cli/command_line.h"
#include "model/files/hf_directory.h"
#include "model/merge.h"
#include "trainer/drift.h"
#include "trainer/evaluate.h"

namespace nibble {
namespace {

std::optional<DType> parse_dtype(const std::string& name) {
  if (name == "f32") return DType::f32;
  if (name == "bf16") return DType::bf16;
  if (name == "f16") return DType::f16;
  return std::nullopt;
}

std::string scientific(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2e", value);
  return text;
}

Json survival_json(const std::vector<Survival>& all) {
  Json list = Json::array();
  for (const Survival& s : all)
    list.push_back({{"name", s.name},
                    {"type", name_of(s.spec.format)},
                    {"share", s.share()},
                    {"norm_ratio", s.ratio()},
                    {"cosine", s.cosine()}});
  return list;
}

// share: how far the codes moved along the delta; norm: how far they moved at all.
void print_survival(const MergeReport& report) {
  std::printf("type    share    norm  cosine  name\n");
  for (const Survival& s : report.survival)
    std::printf("%-5s %5s %% %7s %7s  %s\n", name_of(s.spec.format),
                fixed(100 * s.share(), 1).c_str(), fixed(s.ratio(), 2).c_str(),
                fixed(s.cosine(), 3).c_str(), s.name.c_str());
  std::printf("survived  %s %% of all deltas\n", fixed(100 * report.survived, 1).c_str());
}

}  // namespace

int run_merge(const std::vector<std::string>& arguments) {
  CommandLine line("merge", "merge an adapter into its base", "BASE ADAPTER OUT [options]");
  std::string base, adapter, out, mode = "auto", dtype = "base", text;
  bool json = false;
  int64_t threads = 0;
  double min_survival = MergeOptions().min_survival;
  line.positional("BASE", base, "the directory (or cached hub id) the adapter was trained on");
  line.positional("ADAPTER", adapter, "a folder with adapter_config.json");
  line.positional("OUT", out, "a directory that does not exist yet");
  Settings& f = line.flags();
  f.heading("Merge");
  f.field("mode", mode,
          "trained: onto the decoded weights that were trained on; original: onto the 16-bit ones; "
          "requant: onto the 16-bit ones, quantized again as for training; auto: trained when the "
          "adapter says its base was quantized")
      .choices({"auto", "trained", "original", "requant"});
  f.field("min_survival", min_survival,
          "requant: the least share of all deltas that the fresh codes must keep")
      .range(between(0, 1));
  f.field("dtype", dtype, "of the merged weights; base: as the base's config says")
      .choices({"base", "f32", "bf16", "f16", "nf4", "fp4", "int8"});
  f.field("text", text, "report the drift of the merged model's logits on this file")
      .placeholder("FILE");
  f.field("threads", threads, "0: as many as this process may use").range(between(0, 4096));
  f.field("json", json, "print the report as one JSON object");
  line.example("nibble merge base/ out/run1 merged/");
  line.example(
      "nibble merge base/ out/run1 merged/ --mode original --dtype bf16 --text held-out.jsonl");
  if (!line.parse(arguments)) return 0;
  if (dtype == "nf4" || dtype == "fp4" || dtype == "int8")
    throw UserError("--dtype",
                    cat(dtype,
                        " is refused: codes are no type of one tensor, and a delta merged "
                        "into live codes rounds away (one of 2 % of the weights keeps 2 % "
                        "of itself)"),
                    "--mode requant makes fresh codes and says what survives; or merge to bf16 and "
                    "serve with --quant nf4");
  const Device device = Device::cpu(static_cast<int>(threads));
  MergeOptions options;
  if (mode != "auto")
    options.mode = mode == "trained"   ? MergeMode::trained
                   : mode == "requant" ? MergeMode::requant
                                       : MergeMode::original;
  options.min_survival = min_survival;
  options.dtype = parse_dtype(dtype);
  const std::string base_directory = resolve_model(base);
  const MergeReport report = merge(device, base_directory, adapter, out, options);
  const std::string mode_name = report.mode == MergeMode::trained   ? "trained"
                                : report.mode == MergeMode::requant ? "requant"
                                                                    : "original";
  for (const std::string& note : report.notes) log::warning(note);
  Json result = {{"mode", mode_name},         {"dtype", torch_name(report.dtype)},
                 {"tensors", report.tensors}, {"merged", report.merged},
                 {"bytes", report.bytes},     {"out", out}};
  if (report.mode == MergeMode::requant) {
    result["survived"] = report.survived;
    result["survival"] = survival_json(report.survival);
  }
  if (!text.empty()) {
    const Drift d = measure_drift(device, base_directory, adapter, out, text);
    result["drift"] = {{"max_abs_logit", d.max_abs_logit},
                       {"kl", d.mean_kl},
                       {"nll_unmerged", d.nll_unmerged},
                       {"nll_merged", d.nll_merged},
                       {"tokens", d.tokens}};
  }
  if (json) {
    std::printf("%s\n", dump_json(result).c_str());
    return 0;
  }
  if (report.mode == MergeMode::requant) print_survival(report);
  std::printf("merged    %s of %s tensors (%s mode) → %s, %s, %s\n",
              human_count(report.merged).c_str(), human_count(report.tensors).c_str(),
              mode_name.c_str(), out.c_str(), torch_name(report.dtype),
              human_bytes(report.bytes).c_str());
  if (result.contains("drift")) {
    const Json& d = result["drift"];
    std::printf("drift     max |Δlogit| %s   KL %s nat   nll %s → %s over %s tokens\n",
                fixed(d["max_abs_logit"].get<double>(), 5).c_str(),
                scientific(d["kl"].get<double>()).c_str(),
                fixed(d["nll_unmerged"].get<double>(), 6).c_str(),
                fixed(d["nll_merged"].get<double>(), 6).c_str(),
                human_count(d["tokens"].get<int64_t>()).c_str());
  }
  std::printf("next      nibble serve %s          nibble chat %s\n", out.c_str(), out.c_str());
  return 0;
}

}  // namespace nibble
