// nibble quantize IN OUT: a directory in 4 or 8 bits, as transformers and bitsandbytes read it; and
// back.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"
#include "cli/command_line.h"
#include "cli/quant_report.h"
#include "model/files/hf_directory.h"
#include "quant/plan_settings.h"
#include "trainer/recipe_quant.h"

namespace nibble {
namespace {

struct QuantizeFlags {
  std::string type, to, storage = "uint8", modules, recipe, csv;
  int64_t block = 64, threads = 0;
  double threshold = 6;
  bool no_double = false, no_report = false, force = false, json = false;

  void declare(Settings& f) {
    f.heading("Quantize");
    f.field("type", type, "format of every projection").choices(quant_type_names());
    f.field("block", block, "weights that share a scale; 4-bit formats")
        .alias("block_size")
        .range(between(32, 4096));
    f.field("no_double", no_double, "keep block scales in fp32");
    f.field("storage", storage, "dtype that packed codes are saved under")
        .choices({"uint8", "bfloat16", "float16", "float32"});
    f.field("threshold", threshold, "int8: llm_int8_threshold of the config").range(at_least(0));
    f.field("modules", modules, "formats by module: '[{match: lm_head, type: int8}, …]'")
        .alias("quant_modules")
        .placeholder("RULES");
    f.field("recipe", recipe, "quantize as this recipe says").placeholder("FILE");
    f.field("to", to, "go back: every tensor in this dtype, quantized ones decoded")
        .choices({"f32", "bf16", "f16"});
    f.field("no_report", no_report, "do not compare codes with values");
    f.field("csv", csv, "write the report to a file").placeholder("FILE");
    f.field("force", force, "replace OUT where it exists");
    f.field("threads", threads, "0: as many as this process may use").range(between(0, 4096));
    f.field("json", json, "print the report as one JSON object");
  }

  QuantizeOptions options(const Settings& given) const {
    QuantizeOptions o;
    std::string stored = storage;
    if (!to.empty()) {
      if (!type.empty() || !modules.empty() || !recipe.empty())
        throw UserError("--to", "goes back, and --type, --modules and --recipe quantize",
                        "keep one");
      o.back = to == "f32" ? DType::f32 : to == "f16" ? DType::f16 : DType::bf16;
      return o;
    }
    if (!recipe.empty()) {
      if (!type.empty() || !modules.empty())
        throw UserError("--recipe", "says how to quantize, and so do --type and --modules",
                        "keep one");
      const QuantRecipe read = read_quant_recipe(recipe);
      o.plan = read.plan;
      if (!read.storage.empty() && !given.given("storage")) stored = read.storage;
    } else {
      if (type.empty() && modules.empty())
        throw UserError("--type", "is missing", "--type nf4, fp4 or int8, or --to bf16");
      if (!type.empty()) {
        QuantSpec spec;
        spec.format = *format_named(type);
        spec.block = block;
        spec.double_quant = !no_double;
        o.plan.linears = spec;
      }
      if (!modules.empty()) o.plan.modules = parse_quant_rules(modules, "--modules");
      fill_threshold(o.plan);
    }
    for (const DType t : {DType::u8, DType::bf16, DType::f16, DType::f32})
      if (stored == torch_name(t)) o.storage = t;
    return o;
  }

  void fill_threshold(QuantPlan& plan) const {
    const auto fill = [&](std::optional<QuantSpec>& spec) {
      if (spec && rule_of(spec->format).rows && !spec->outlier_threshold)
        spec->outlier_threshold = threshold;
    };
    fill(plan.linears);
    for (QuantRule& rule : plan.modules) fill(rule.spec);
  }
};

Json json_of(const QuantizeReport& report, const std::string& out) {
  return {{"out", out},
          {"tensors", report.tensors},
          {"bytes_in", report.bytes_in},
          {"bytes_out", report.bytes_out},
          {"decoded", report.decoded},
          {"notes", report.notes},
          {"matrices", quant_report_json(report.matrices)}};
}

}  // namespace

int run_quantize(const std::vector<std::string>& arguments) {
  CommandLine line("quantize", "turn a model into 4 or 8 bits, or back",
                   "IN OUT --type nf4|fp4|int8 [options]");
  std::string in, out;
  QuantizeFlags flags;
  line.positional("IN", in, "a Hugging Face directory or a hub id in the local cache");
  line.positional("OUT", out, "a directory that does not exist yet");
  flags.declare(line.flags());
  line.example("nibble quantize model/ model-nf4/ --type nf4");
  line.example(
      "nibble quantize model/ model-mixed/ --type nf4 --modules '[{match: lm_head, type: int8}]'");
  line.example("nibble quantize model-nf4/ model-bf16/ --to bf16");
  if (!line.parse(arguments)) return 0;

  QuantizeOptions options = flags.options(line.flags());
  options.measure = !flags.no_report;
  options.replace = flags.force;
  log::Progress progress;
  options.progress = [&](int64_t done, int64_t all, const std::string& name) {
    progress.update(cat(flags.to.empty() ? "quantizing " : "decoding  ", human_bytes(done), " of ",
                        human_bytes(all), "  ", name));
  };
  const Device device = Device::cpu(static_cast<int>(flags.threads));
  const QuantizeReport report = quantize_model(device, resolve_model(in), out, options);
  progress.finish();
  for (const std::string& note : report.notes) log::warning(note);
  if (!flags.csv.empty()) write_file(flags.csv, quant_report_csv(report.matrices));
  if (flags.json) {
    std::printf("%s\n", dump_json(json_of(report, out)).c_str());
    return 0;
  }
  std::fputs(quant_report_table(report.matrices).c_str(), stdout);
  std::printf(
      "%s %s → %s, %s of %s (%s %%)\n", flags.to.empty() ? "quantized" : "decoded  ",
      human_count(flags.to.empty() ? static_cast<int64_t>(report.matrices.size()) : report.decoded)
          .c_str(),
      out.c_str(), human_bytes(report.bytes_out).c_str(), human_bytes(report.bytes_in).c_str(),
      fixed(100.0 * static_cast<double>(report.bytes_out) /
                static_cast<double>(std::max<int64_t>(1, report.bytes_in)),
            1)
          .c_str());
  std::printf("next      nibble inspect %s          nibble serve %s\n", out.c_str(), out.c_str());
  return 0;
}

}  // namespace nibble
