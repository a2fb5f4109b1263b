// nibble convert SRC DST: Hugging Face directories to GGUF files and back.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/command_line.h"
#include "model/convert.h"
#include "model/files/gguf_model.h"
#include "model/files/hf_directory.h"

namespace nibble {
namespace {

const std::vector<std::string>& types() {
  static const std::vector<std::string> all = {"auto", "f32",  "f16",  "bf16", "q8_0", "q6_k",
                                               "q5_k", "q4_k", "q5_1", "q5_0", "q4_1", "q4_0"};
  return all;
}

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

// --type's value; types that are read and not made, or not known, are refused by name.
std::string chosen_type(const std::string& given) {
  const std::string type = lower(given);
  for (const std::string& name : types())
    if (type == name) return type;
  const GgufTensorType* known = find_gguf_type(type);
  throw UserError("--type",
                  known != nullptr ? cat(known->name, " is not made by this command")
                                   : cat("'", given, "' is no type"),
                  cat("choose one of ", join(types(), ", ")));
}

ConvertReport to_gguf(const Device& device, const std::string& source, const std::string& out,
                      const std::string& type, bool tokenizer) {
  ToGguf options;
  if (type != "auto") options.type = find_gguf_type(type);
  options.tokenizer = tokenizer;
  return convert_to_gguf(device, source, out, options);
}

ConvertReport to_directory(const Device& device, const std::string& source, const std::string& out,
                           const std::string& type, bool force) {
  ToDirectory options;
  options.replace = force;
  if (type == "f32") options.dtype = DType::f32;
  if (type == "f16") options.dtype = DType::f16;
  if (type == "bf16") options.dtype = DType::bf16;
  if (type != "auto" && !options.dtype)
    throw UserError("--type", cat(type, " has no place in a Hugging Face directory"),
                    "choose f32, f16 or bf16, or let DST end with .gguf");
  return convert_to_directory(device, source, out, options);
}

}  // namespace

int run_convert(const std::vector<std::string>& arguments) {
  CommandLine line("convert", "turn a model into a GGUF file, or back", "SRC DST [options]");
  std::string source, out, type = "auto";
  bool force = false, no_tokenizer = false, json = false;
  int64_t threads = 0;
  line.positional("SRC", source, "a Hugging Face directory, a hub id in the cache, or a GGUF file");
  line.positional("DST", out, "a GGUF file (its name ends with .gguf) or a new directory");
  Settings& f = line.flags();
  f.heading("Convert");
  f.field("type", type,
          "of the matrices: f32 f16 bf16 q8_0 q6_k q5_k q4_k q5_1 q5_0 q4_1 q4_0 (a directory: f32 "
          "f16 bf16); "
          "auto keeps every value exactly");
  f.field("no_tokenizer", no_tokenizer, "leave the tokenizer out of a GGUF file");
  f.field("force", force, "replace DST where it exists");
  f.field("threads", threads, "0: as many as this process may use").range(between(0, 4096));
  f.field("json", json, "print the report as one JSON object");
  line.example("nibble convert model/ model-q8_0.gguf --type q8_0");
  line.example("nibble convert model-q4_k.gguf model/");
  if (!line.parse(arguments)) return 0;

  type = chosen_type(type);
  const std::string place = resolve_model(source);
  const bool gguf = ends_with(out, ".gguf");
  if (!gguf && !is_gguf(place))
    throw UserError(out, "is a directory's name, and so is the source",
                    "let DST end with .gguf to make a GGUF file");
  if (gguf && exists(out) && !force)
    throw UserError(out, "exists already", "choose another name, or say --force",
                    Exit::cannot_create);
  const Device device = Device::cpu(static_cast<int>(threads));
  const ConvertReport report = gguf ? to_gguf(device, place, out, type, !no_tokenizer)
                                    : to_directory(device, place, out, type, force);
  for (const std::string& note : report.notes) log::warning(note);
  if (json) {
    const Json result = {{"out", out},
                         {"type", report.type},
                         {"tensors", report.tensors},
                         {"bytes", report.bytes},
                         {"notes", report.notes}};
    std::printf("%s\n", dump_json(result).c_str());
    return 0;
  }
  std::printf("converted %s tensors → %s, %s, %s\n", human_count(report.tensors).c_str(),
              out.c_str(), report.type.c_str(), human_bytes(report.bytes).c_str());
  return 0;
}

}  // namespace nibble
