// One large parameter per rule and width, stepped by the optimizer itself. A step reads the
// gradient, reads and writes the parameter and its states: those bytes over its time stand beside
// the rate at which the machine copies.
#include "cli/bench_optim.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/json.h"
#include "cli/command_line.h"
#include "cli/machine_peak.h"
#include "optim/optimizer.h"

namespace nibble {
namespace {

struct Options {
  std::string rule, dtype = "f32";
  int64_t bits = 0, block = 256, n = int64_t{1} << 24, paged = 0, threads = 0;
  double seconds = 0.5;
  bool bnb = false, json = false;
};

struct Run {
  std::string rule;
  int64_t bits = 0;
  double seconds = 0, state_bytes = 0, resident_bytes = 0, moved_bytes = 0;
};

// Gradients and values with a spread of scales, the same ones again and again: their size is what
// costs.
void fill(const Device& device, const Tensor& wide, Parameter& p) {
  float* values = wide.data<float>();
  for (int64_t i = 0; i < wide.numel(); ++i) {
    uint64_t z = static_cast<uint64_t>(i % 65536) * 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    const auto size = static_cast<float>(static_cast<int64_t>(z >> 40) - (1 << 23)) * 0x1p-23F;
    values[i] = size * size * size;
  }
  device.kernels().cast(device.stream(), 1, wide.numel(), DType::f32, values, wide.numel(),
                        p.value.dtype(), p.value.raw(), wide.numel());
}

DType dtype_named(const std::string& name) {
  return name == "bf16" ? DType::bf16 : name == "f16" ? DType::f16 : DType::f32;
}

Run run_one(const Device& device, const Options& o, const std::string& rule, int64_t bits) {
  const Ctx ctx(device, DType::f32);
  Parameter p;
  p.name = "p";
  p.value = ctx.empty({o.n}, dtype_named(o.dtype), Purpose::adapter);
  p.grad = ctx.empty({o.n}, DType::f32, Purpose::gradient);
  fill(device, p.grad, p);
  OptimizerOptions options;
  options.rule = rule;
  options.paging.paged = o.paged > 0;
  options.paging.budget = o.paged;
  ParameterSettings settings;
  settings.state.bits = static_cast<int>(bits);
  settings.state.block = o.block;
  settings.state.bnb_codec = o.bnb;
  settings.weight_decay = 0.01;
  const auto optimizer = Optimizer::make(ctx, options, {{&p, settings}});
  int64_t step = 0;
  Run run{rule, bits, 0, 0, 0, 0};
  run.seconds = fastest(o.seconds, [&] { optimizer->step(ctx, 1e-4, ++step, 1); });
  run.state_bytes = static_cast<double>(optimizer->bytes());
  run.resident_bytes = static_cast<double>(optimizer->resident_bytes());
  run.moved_bytes = 2 * run.state_bytes + 2 * static_cast<double>(p.value.bytes()) +
                    static_cast<double>(p.grad.bytes());
  return run;
}

void print_json(const Device& device, const MachinePeak& peak, const std::vector<Run>& runs,
                const Options& o) {
  Json list = Json::array();
  for (const Run& r : runs) {
    const auto n = static_cast<double>(o.n);
    list.push_back({{"rule", r.rule},
                    {"bits", r.bits},
                    {"seconds", r.seconds},
                    {"ns_per_parameter", 1e9 * r.seconds / n},
                    {"parameters_per_s", n / r.seconds},
                    {"bytes_per_s", r.moved_bytes / r.seconds},
                    {"state_bytes", r.state_bytes},
                    {"resident_bytes", r.resident_bytes}});
  }
  const Json out = {{"machine",
                     {{"tier", name_of(device.tier())},
                      {"threads", device.threads()},
                      {"copy_bytes_per_s", peak.copy_bytes_per_s},
                      {"fma_flops_per_s", peak.fma_flops_per_s}}},
                    {"parameters", o.n},
                    {"dtype", o.dtype},
                    {"block", o.block},
                    {"paged_budget", o.paged},
                    {"runs", list}};
  std::printf("%s\n", dump_json(out, 2).c_str());
}

void print_table(const Device& device, const MachinePeak& peak, const std::vector<Run>& runs,
                 const Options& o) {
  std::printf("machine   %s, %d thread%s: copies %s GB/s, %s GFLOP/s in fp32\n",
              name_of(device.tier()), device.threads(), device.threads() == 1 ? "" : "s",
              fixed(peak.copy_bytes_per_s / 1e9, 1).c_str(),
              fixed(peak.fma_flops_per_s / 1e9, 0).c_str());
  std::printf("measured  the best step of %lld %s parameters%s; GB/s are read and written\n\n",
              static_cast<long long>(o.n), o.dtype.c_str(),
              o.paged > 0 ? cat(", ", human_bytes(o.paged), " of states in memory").c_str() : "");
  std::printf("%-10s %5s %9s %9s %11s %9s %7s\n", "", "", "bytes a", "ns a", "", "", "of the");
  std::printf("%-10s %5s %9s %9s %11s %9s %7s\n", "rule", "bits", "parameter", "parameter",
              "Gparams/s", "GB/s", "copy");
  for (const Run& r : runs) {
    const auto n = static_cast<double>(o.n);
    const double rate = r.moved_bytes / r.seconds;
    std::printf("%-10s %5lld %9s %9s %11s %9s %7s\n", r.rule.c_str(),
                static_cast<long long>(r.bits), fixed(r.state_bytes / n, 2).c_str(),
                fixed(1e9 * r.seconds / n, 2).c_str(), fixed(n / r.seconds / 1e9, 3).c_str(),
                fixed(rate / 1e9, 1).c_str(), fixed(rate / peak.copy_bytes_per_s, 2).c_str());
  }
}

}  // namespace

int run_bench_optim(const std::vector<std::string>& arguments) {
  CommandLine line("bench optim", "measure optimizer steps", "[--rule R] [--bits B] [options]");
  Options o;
  Settings& f = line.flags();
  f.heading("What");
  f.field("rule", o.rule, "all when not given").choices(Optimizer::names());
  f.field("bits", o.bits, "of the states: 32 or 8; 0: both").range(between(0, 32));
  f.field("block", o.block, "elements that share a scale in 8 bits").range(between(64, 4096));
  f.field("bnb_codec", o.bnb, "8-bit states as bitsandbytes keeps them");
  f.field("dtype", o.dtype, "of the parameters").choices({"f32", "bf16", "f16"});
  f.field("elements", o.n, "parameters").range(at_least(1));
  f.field("paged", o.paged, "bytes of states in memory, the rest in a file; 0: all")
      .range(at_least(0));
  f.heading("Measuring");
  f.field("threads", o.threads, "0: what this process may use").range(between(0, 1024));
  f.field("seconds", o.seconds, "of steps for each").range(between(0, 3600));
  f.field("json", o.json, "one JSON object");
  line.example("nibble bench optim");
  line.example("nibble bench optim --rule adamw --bits 8 --threads 1");
  line.example("nibble bench optim --rule adamw --bits 8 --paged 8000000");
  if (!line.parse(arguments)) return 0;
  if (o.bits != 0 && o.bits != 8 && o.bits != 32)
    throw UserError("command line", cat("--bits ", o.bits), "32 or 8, or leave it out for both");
  const Device device = Device::cpu(static_cast<int>(o.threads));
  const MachinePeak peak = measure_machine(device);
  std::vector<Run> runs;
  for (const std::string& rule : Optimizer::names()) {
    if (!o.rule.empty() && o.rule != rule) continue;
    for (const int64_t bits : {32, 8}) {
      if (o.bits == 0 || o.bits == bits) runs.push_back(run_one(device, o, rule, bits));
    }
  }
  o.json ? print_json(device, peak, runs, o) : print_table(device, peak, runs, o);
  return 0;
}

}  // namespace nibble
