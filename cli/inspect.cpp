// nibble inspect PATH: a model, an adapter, a checkpoint, a safetensors file, or a recipe's first
// rows.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "cli/command_line.h"
#include "cli/gguf_facts.h"
#include "cli/quant_report.h"
#include "model/blueprint.h"
#include "model/describe.h"
#include "model/expected_tensors.h"
#include "model/files/bnb_config.h"
#include "model/files/gguf_model.h"
#include "model/files/hf_directory.h"
#include "model/files/peft.h"
#include "model/files/provenance.h"
#include "model/files/safetensors.h"
#include "model/text/tokenizer.h"
#include "trainer/audit.h"

namespace nibble {
namespace {

Json tensor_table(const TensorFiles& files) {
  Json tensors = Json::array();
  int64_t bytes = 0;
  for (const TensorInfo& info : files.tensors()) {
    tensors.push_back({{"name", info.name},
                       {"dtype", info.dtype_name},
                       {"shape", info.shape},
                       {"bytes", info.bytes()}});
    bytes += info.bytes();
  }
  return {{"count", files.tensors().size()}, {"bytes", bytes}, {"tensors", std::move(tensors)}};
}

// What the directory says of its tokenizer and chat template.
std::string token_words(const std::string& directory, const Blueprint& b) {
  if (!Tokenizer::present(directory)) return "no tokenizer beside the weights";
  try {
    const auto tokenizer = Tokenizer::load(directory);
    std::string text = cat(human_count(tokenizer->vocab_size()), " tokens");
    if (tokenizer->vocab_size() > b.vocab) text += ", more than the model has: of another model";
    const auto name = [&](const char* role, std::optional<int32_t> id) {
      if (id) text += cat(", ", role, " ", tokenizer->token_text(*id), " (", *id, ")");
    };
    name("begin", tokenizer->bos());
    name("end", tokenizer->eos());
    name("pad", tokenizer->pad());
    return text + (tokenizer->chat_template().empty() ? ", no chat template" : ", a chat template");
  } catch (const UserError& e) {
    return cat("not understood: ", e.what());
  }
}

Json model_facts(const std::string& directory, const std::string& against) {
  std::string path;
  const Json config = read_model_config(directory, &path);
  std::vector<UserError> unknown;
  const Blueprint b = read_blueprint(config, path, &unknown);
  Json out = {{"kind", "model"},
              {"family", b.family},
              {"layers", b.layers},
              {"hidden", b.hidden},
              {"heads", b.heads},
              {"kv_heads", b.kv_heads},
              {"head_dim", b.head_dim},
              {"intermediate", b.intermediate},
              {"vocab", b.vocab},
              {"max_positions", b.max_positions},
              {"tied", b.tied},
              {"parameters", b.parameters()},
              {"dtype", torch_name(b.file_dtype)}};
  Json words = Json::object();
  for (const auto& [name, text] : describe(b)) words[name] = text;
  words["tokens"] = token_words(directory, b);
  out["blueprint"] = std::move(words);
  if (config.contains("quantization_config"))
    out["quantization_config"] = config["quantization_config"];
  const TensorFiles files = TensorFiles::open(directory);
  out["files"] = tensor_table(files);
  try {
    const auto quantized = quantized_matrices(Device::cpu(0), directory,
                                              against.empty() ? against : resolve_model(against));
    if (!quantized.empty()) {
      out["quantized"] = quant_report_json(quantized);
      out["quantized_table"] = quant_report_table(quantized);
    }
  } catch (const UserError& e) {
    unknown.push_back(e);
  }
  try {
    check_tensors(files, b, read_bnb_config(config, path).has_value());
  } catch (const UserError& e) {
    unknown.push_back(e);
  } catch (const UserErrors& e) {
    unknown.insert(unknown.end(), e.all().begin(), e.all().end());
  }
  out["not_understood"] = Json::array();
  for (const UserError& e : unknown) out["not_understood"].push_back(e.what());
  return out;
}

Json adapter_facts(const std::string& directory) {
  const AdapterConfig c = read_adapter_config(directory);
  Json out = {{"kind", "adapter"},  {"r", c.r},           {"alpha", c.alpha},
              {"scale", c.scale()}, {"rslora", c.rslora}, {"base_model", c.base_model}};
  if (c.all_linear)
    out["targets"] = "all-linear";
  else if (!c.target_regex.empty())
    out["targets"] = c.target_regex;
  else
    out["targets"] = c.target_modules;
  if (const auto p = read_provenance(directory)) {
    out["trained_on"] = p->base_model;
    out["quant"] = plan_json(p->quant);
  }
  out["files"] =
      tensor_table(TensorFiles::open_file(join_path(directory, "adapter_model.safetensors")));
  return out;
}

void add_checkpoint_facts(const std::string& directory, Json& out) {
  const std::string state = join_path(directory, "trainer_state.json");
  if (!exists(state)) return;
  const Json json = read_json(state);
  out["checkpoint"] = {{"step", json.value("global_step", Json())},
                       {"max_steps", json.value("max_steps", Json())},
                       {"epoch", json.value("epoch", Json())}};
  if (has_manifest(directory)) {
    verify_directory(directory);
    out["checkpoint"]["verified"] = true;
  }
}

void print_rows(const Json& audit) {
  for (const Json& row : audit["rows"]) {
    std::printf("%s   %s tokens, %s learned\n", row["where"].get<std::string>().c_str(),
                human_count(static_cast<int64_t>(row["tokens"].size())).c_str(),
                human_count(row["targets"].get<int64_t>()).c_str());
    std::printf("  %8s %8s  %s\n", "id", "label", "token");
    for (const Json& t : row["tokens"])
      std::printf("  %8s %8s  %s\n", t["id"].dump().c_str(),
                  t["label"].is_null() ? "-" : t["label"].dump().c_str(),
                  dump_json(t.value("text", Json(""))).c_str());
  }
  const Json& d = audit["dataset"];
  std::printf("dataset   %s rows, %s tokens, %s learned\n",
              human_count(d["rows"].get<int64_t>()).c_str(),
              human_count(d["tokens"].get<int64_t>()).c_str(),
              human_count(d["targets"].get<int64_t>()).c_str());
}

void print_facts(const Json& facts) {
  if (facts.contains("blueprint"))
    for (const auto& item : facts["blueprint"].items())
      std::printf("%-16s %s\n", item.key().c_str(), item.value().get<std::string>().c_str());
  for (const auto& item : facts.items()) {
    // The blueprint says these in words.
    if (item.key() == "files" || item.key() == "quantized" ||
        (facts["kind"] == "model" && item.key() != "checkpoint" &&
         item.key() != "quantization_config"))
      continue;
    if (item.key() == "blueprint" || item.key() == "not_understood") continue;
    if (item.key() == "metadata") {
      for (const auto& key : item.value().items())
        std::printf("%-40s %s\n", key.key().c_str(), dump_json(key.value()).c_str());
      continue;
    }
    const std::string value =
        item.value().is_string() ? item.value().get<std::string>() : dump_json(item.value());
    std::printf("%-16s %s\n", item.key().c_str(), value.c_str());
  }
  if (facts.contains("not_understood")) {
    const Json& list = facts["not_understood"];
    std::printf("%-16s %s\n", "not understood", list.empty() ? "nothing" : "");
    for (const Json& what : list) std::printf("  %s\n", what.get<std::string>().c_str());
  }
  if (!facts.contains("files")) return;
  const Json& files = facts["files"];
  std::printf("%-16s %s, %s\n", "tensors", human_count(files["count"].get<int64_t>()).c_str(),
              human_bytes(files["bytes"].get<int64_t>()).c_str());
  for (const Json& t : files["tensors"])
    std::printf("  %-6s %-18s %s\n", t["dtype"].get<std::string>().c_str(),
                t["shape"].dump().c_str(), t["name"].get<std::string>().c_str());
}

}  // namespace

int run_inspect(const std::vector<std::string>& arguments) {
  CommandLine line("inspect", "show what a path holds", "PATH [--rows N] [--json] [key=value …]");
  std::string path;
  int64_t rows = 3;
  std::string against;
  bool json = false;
  std::vector<std::pair<std::string, std::string>> overrides;
  line.positional("PATH", path,
                  "a model, adapter or checkpoint folder, a safetensors or GGUF file, a recipe");
  line.overrides(overrides, "with a recipe: settings that win over it");
  line.flags().heading("Options");
  line.flags()
      .field("rows", rows, "with a recipe: how many rows to show token by token")
      .range(at_least(0));
  line.flags()
      .field("against", against, "with a quantized model: the unquantized one, to say the errors")
      .placeholder("DIR");
  line.flags().field("json", json, "one JSON object");
  line.example("nibble inspect out/run1/checkpoint-200");
  line.example("nibble inspect recipe.yaml --rows 2");
  if (!line.parse(arguments)) return 0;

  Json facts;
  if (ends_with(path, ".yaml") || ends_with(path, ".yml")) {
    facts = audit_rows(path, overrides, rows);
    facts["kind"] = "recipe";
    if (!json) {
      print_rows(facts);
      return 0;
    }
  } else if (ends_with(path, ".safetensors")) {
    const TensorFiles files = TensorFiles::open_file(path);
    facts = {{"kind", "safetensors"}, {"files", tensor_table(files)}};
  } else if (is_gguf(path)) {
    facts = gguf_facts(path);
    try {
      const Json model = model_facts(path, "");
      for (const char* key : {"blueprint", "not_understood"}) facts[key] = model[key];
    } catch (const UserError& e) {
      facts["not_understood"] = Json::array({e.what()});
    }
  } else {
    const std::string directory = resolve_model(path);
    if (exists(join_path(directory, "adapter_config.json"))) {
      facts = adapter_facts(directory);
    } else if (exists(join_path(directory, "config.json"))) {
      facts = model_facts(directory, against);
    } else {
      throw UserError(
          path, "holds neither config.json nor adapter_config.json",
          "name a model, an adapter, a checkpoint, a safetensors or GGUF file or a recipe",
          Exit::missing_input);
    }
    add_checkpoint_facts(directory, facts);
  }
  const std::string table = facts.value("quantized_table", std::string());
  facts.erase("quantized_table");
  if (json) {
    std::printf("%s\n", dump_json(facts).c_str());
  } else {
    print_facts(facts);
    std::fputs(table.c_str(), stdout);
  }
  const bool understood = !facts.contains("not_understood") || facts["not_understood"].empty();
  return understood ? 0 : static_cast<int>(Exit::bad_data);
}

}  // namespace nibble
