// Two sizes of output: one that stays in the cache of its core, where instructions decide, and one
// that no cache holds, where memory does. There a speed means something only beside that of a plain
// copy of as many bytes. A decoder's bytes are codes and scales read and values written; a copy's
// are read and written once each.
#include "cli/bench_quant.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/errors.h"
#include "base/json.h"
#include "cli/codec.h"
#include "cli/command_line.h"
#include "cli/machine_peak.h"
#include "kernels/machine_memory.h"
#include "model/files/safetensors.h"

namespace nibble {
namespace {

constexpr int64_t kCols = 4096;  // whole blocks of every size

struct Options {
  std::string type, dtype = "bf16", input, output;
  int64_t block = 0, threads = 0, repeat = 5, mebibytes = 0;
  bool double_quant = false, json = false;
};

struct Run {
  std::string tensor, type;
  int64_t block = 0;  // 0: a scale a row
  int64_t weights = 0, coded_bytes = 0, output_bytes = 0;
  CodecSpeed speed;

  double bits() const {
    return 8 * static_cast<double>(coded_bytes) / static_cast<double>(weights);
  }
  double rate(const CodecSpeed::Seconds& s) const { return static_cast<double>(weights) / s.best; }
  double decode_bytes_per_s() const {
    return static_cast<double>(coded_bytes + output_bytes) / speed.decode.best;
  }
  double copy_bytes_per_s() const {
    return 2 * static_cast<double>(output_bytes) / speed.copy.best;
  }
};

DType dtype_named(const std::string& name) {
  return name == "f32" ? DType::f32 : name == "f16" ? DType::f16 : DType::bf16;
}

// About normal with a standard deviation of 0.02; a piece, repeated.
Tensor made_up_weights(const Device& device, int64_t bytes, DType dtype) {
  const int64_t rows = std::max<int64_t>(1, bytes / size_of(dtype) / kCols);
  Tensor w = Tensor::empty(device.memory(), {rows, kCols}, dtype, Purpose::weights);
  const int64_t piece = std::min<int64_t>(rows, 256);
  Tensor wide = Tensor::empty(device.memory(), {piece, kCols}, DType::f32, Purpose::scratch);
  uint64_t z = 1;
  for (int64_t i = 0; i < piece * kCols; ++i) {
    int64_t sum = -131070;
    z = z * 6364136223846793005u + 1442695040888963407u;
    for (int field = 0; field < 4; ++field) sum += static_cast<int64_t>(z >> 16 * field & 0xffff);
    wide.data<float>()[i] = static_cast<float>(sum) * 0x1p-21f;
  }
  for (int64_t row = 0; row < rows; row += piece) {
    const int64_t count = std::min(piece, rows - row);
    device.kernels().cast(device.stream(), count, kCols, DType::f32, wide.raw(), kCols, dtype,
                          w.data<char>() + row * kCols * size_of(dtype), kCols);
  }
  return w;
}

Run run_one(const Device& device, const Options& o, const std::string& type, const Tensor& w,
            NamedTensors* parts, const std::string& name) {
  const auto codec = make_codec(device, {type, o.block, o.double_quant});
  const Tensor out = Tensor::empty(device.memory(), w.shape(), w.dtype(), Purpose::weights);
  Run run;
  run.speed = measure_codec(device, *codec, w, out, o.repeat);
  run.tensor = name;
  run.type = type;
  run.block = type == "int8" ? 0 : o.block > 0 ? o.block : usual_block(type);
  run.weights = w.numel();
  run.coded_bytes = codec->bytes();
  run.output_bytes = out.bytes();
  if (parts == nullptr) return run;
  for (const auto& [part, tensor] : codec->parts()) {
    Tensor copy = Tensor::empty(device.memory(), tensor.shape(), tensor.dtype(), Purpose::staging);
    std::memcpy(copy.raw(), tensor.raw(), static_cast<size_t>(tensor.bytes()));
    parts->emplace_back(cat(name, ".", part), copy);
  }
  parts->emplace_back(name + ".decoded", out);
  return run;
}

// What is written into the two sizes, in bytes.
std::vector<int64_t> output_sizes(const Device& device, const Options& o) {
  const int64_t small = device.threads() * cache_bytes(2) / 4;
  const int64_t beyond = cache_bytes(3) + cache_bytes(3) / 8;
  const int64_t most = std::min<int64_t>(int64_t{256} << 20, machine_memory().available / 6);
  return {small, o.mebibytes > 0 ? o.mebibytes << 20 : std::min(beyond, most)};
}

std::vector<Run> run_made_up(const Device& device, const Options& o) {
  std::vector<Run> runs;
  for (const int64_t bytes : output_sizes(device, o)) {
    const Tensor w = made_up_weights(device, bytes, dtype_named(o.dtype));
    for (const std::string& type : codec_types()) {
      if (!o.type.empty() && o.type != type) continue;
      runs.push_back(run_one(device, o, type, w, nullptr, ""));
    }
  }
  return runs;
}

std::vector<Run> run_file(const Device& device, const Options& o) {
  const TensorFiles files = TensorFiles::open_file(o.input);
  std::vector<Run> runs;
  NamedTensors parts;
  for (const TensorInfo& info : files.tensors()) {
    Tensor w = files.read(info.name, device.memory(), Purpose::weights);
    if (w.dtype() != DType::f32 && w.dtype() != DType::bf16 && w.dtype() != DType::f16) {
      throw UserError(files.where(info), cat("its dtype is ", name_of(w.dtype())),
                      "only f32, bf16 and f16 are coded", Exit::bad_data);
    }
    if (w.numel() == 0) continue;
    const int64_t cols = info.shape.empty() ? 1 : info.shape.back();
    runs.push_back(run_one(device, o, o.type, w.reshape({w.numel() / cols, cols}),
                           o.output.empty() ? nullptr : &parts, info.name));
  }
  if (!o.output.empty()) write_safetensors(o.output, parts);
  return runs;
}

Json seconds_json(const CodecSpeed::Seconds& s) { return {{"best", s.best}, {"median", s.median}}; }

void print_json(const Device& device, const std::optional<MachinePeak>& peak,
                const std::vector<Run>& runs, const Options& o) {
  Json list = Json::array();
  for (const Run& r : runs) {
    Json one = {{"type", r.type},
                {"block", r.block},
                {"double_quant", o.double_quant},
                {"weights", r.weights},
                {"bits_per_weight", r.bits()},
                {"output_bytes", r.output_bytes},
                {"quantize_seconds", seconds_json(r.speed.encode)},
                {"dequantize_seconds", seconds_json(r.speed.decode)},
                {"copy_seconds", seconds_json(r.speed.copy)},
                {"quantize_weights_per_s", r.rate(r.speed.encode)},
                {"dequantize_weights_per_s", r.rate(r.speed.decode)},
                {"dequantize_bytes_per_s", r.decode_bytes_per_s()},
                {"copy_bytes_per_s", r.copy_bytes_per_s()}};
    if (!r.tensor.empty()) one["tensor"] = r.tensor;
    list.push_back(one);
  }
  Json machine = {{"tier", name_of(device.tier())}, {"threads", device.threads()}};
  if (peak) {
    machine["copy_bytes_per_s"] = peak->copy_bytes_per_s;
    machine["fma_flops_per_s"] = peak->fma_flops_per_s;
  }
  const Json out = {{"machine", machine}, {"rounds", o.repeat}, {"runs", list}};
  std::printf("%s\n", dump_json(out, 2).c_str());
}

void print_table(const Device& device, const std::optional<MachinePeak>& peak,
                 const std::vector<Run>& runs, const Options& o) {
  std::printf("machine   %s, %d thread%s", name_of(device.tier()), device.threads(),
              device.threads() == 1 ? "" : "s");
  if (peak) {
    std::printf(": copies %s GB/s, %s GFLOP/s in fp32",
                fixed(peak->copy_bytes_per_s / 1e9, 1).c_str(),
                fixed(peak->fma_flops_per_s / 1e9, 0).c_str());
  }
  std::printf("\n");
  std::printf("measured  the best of %lld rounds; GB/s are read and written\n\n",
              static_cast<long long>(o.repeat));
  std::printf("%-9s %5s %5s %9s   %10s %10s %7s %7s %6s\n", "", "", "", "", "quantize",
              "dequantize", "", "copy", "of the");
  std::printf("%-9s %5s %5s %9s   %10s %10s %7s %7s %6s\n", "type", "block", "bits", "output",
              "Gweights/s", "Gweights/s", "GB/s", "GB/s", "copy");
  for (const Run& r : runs) {
    if (!r.tensor.empty()) std::printf("%s\n", r.tensor.c_str());
    std::printf("%-9s %5s %5s %9s   %10s %10s %7s %7s %6s\n", r.type.c_str(),
                r.block == 0 ? "row" : cat(r.block).c_str(), fixed(r.bits(), 2).c_str(),
                human_bytes(r.output_bytes).c_str(), fixed(r.rate(r.speed.encode) / 1e9, 2).c_str(),
                fixed(r.rate(r.speed.decode) / 1e9, 2).c_str(),
                fixed(r.decode_bytes_per_s() / 1e9, 1).c_str(),
                fixed(r.copy_bytes_per_s() / 1e9, 1).c_str(),
                fixed(r.decode_bytes_per_s() / r.copy_bytes_per_s(), 2).c_str());
  }
}

void declare(CommandLine& line, Options& o) {
  Settings& f = line.flags();
  f.heading("What");
  f.field("type", o.type, "one of the formats; all when not given").choices(codec_types());
  f.field("block", o.block, "weights that share a scale; 0: 64, of dynamic8 256")
      .range(at_least(0));
  f.field("double_quant", o.double_quant, "code the scales of 4-bit formats, too");
  f.field("dtype", o.dtype, "of the weights").choices({"bf16", "f32", "f16"});
  f.field("mebibytes", o.mebibytes, "of the large output; 0: more than the caches hold")
      .range(between(0, 1 << 20));
  f.heading("Measuring");
  f.field("threads", o.threads, "0: what this process may use").range(between(0, 1024));
  f.field("repeat", o.repeat, "rounds of quantizing, dequantizing and copying in turn")
      .range(at_least(1));
  f.heading("Files");
  f.field("input", o.input, "safetensors: quantize these tensors instead (with --type)")
      .placeholder("FILE");
  f.field("output", o.output, "write codes, scales and decoded values of each to this safetensors")
      .placeholder("FILE");
  f.field("json", o.json, "one JSON object");
  line.example("nibble bench quant");
  line.example("nibble bench quant --type nf4 --block 128 --dtype f32 --threads 1 --json");
  line.example("nibble bench quant --type nf4 --input w.safetensors --output coded.safetensors");
}

}  // namespace

int run_bench_quant(const std::vector<std::string>& arguments) {
  CommandLine line("bench quant", "measure number formats", "[--type T] [--block N] [options]");
  Options o;
  declare(line, o);
  if (!line.parse(arguments)) return 0;
  if (!o.input.empty() && o.type.empty())
    throw UserError("command line", "--input needs --type", "say --type nf4, for one");
  if (!o.output.empty() && o.input.empty())
    throw UserError("command line", "--output needs --input", "name the tensors to quantize");
  const Device device = Device::cpu(static_cast<int>(o.threads));
  std::optional<MachinePeak> peak;  // a file's tensors stand beside copies of their own size only
  if (o.input.empty()) peak = measure_machine(device);
  const std::vector<Run> runs = o.input.empty() ? run_made_up(device, o) : run_file(device, o);
  o.json ? print_json(device, peak, runs, o) : print_table(device, peak, runs, o);
  return 0;
}

}  // namespace nibble
