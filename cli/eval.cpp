// nibble eval: how well a model predicts a file, and how often it picks the right continuation.
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/log.h"
#include "cli/command_line.h"
#include "cli/model_flags.h"
#include "model/files/hf_directory.h"
#include "model/text/tokenizer_fit.h"
#include "trainer/choices.h"
#include "trainer/evaluate.h"

namespace nibble {
namespace {

int print_choices(const ChoiceReport& r, bool json) {
  if (json) {
    Json out = {{"items", r.items.size()},
                {"acc", r.share(r.right)},
                {"acc_stderr", r.standard_error(r.right)},
                {"acc_norm", r.share(r.right_norm)},
                {"acc_norm_stderr", r.standard_error(r.right_norm)},
                {"acc_bytes", r.share(r.right_bytes)},
                {"loglikelihood", Json::array()}};
    for (const ChoiceScore& item : r.items) out["loglikelihood"].push_back(item.loglikelihood);
    std::printf("%s\n", dump_json(out).c_str());
    return 0;
  }
  std::printf("questions %s  acc %s ± %s  acc_norm %s ± %s\n",
              human_count(static_cast<int64_t>(r.items.size())).c_str(),
              fixed(r.share(r.right), 4).c_str(), fixed(r.standard_error(r.right), 4).c_str(),
              fixed(r.share(r.right_norm), 4).c_str(),
              fixed(r.standard_error(r.right_norm), 4).c_str());
  return 0;
}

}  // namespace

int run_eval(const std::vector<std::string>& arguments) {
  CommandLine line("eval", "measure a model", "perplexity|choices MODEL --file F [options]");
  std::string measure, file;
  bool json = false;
  int64_t context = 0;
  ModelFlags flags;
  line.positional("MEASURE", measure, "perplexity, or choices: multiple-choice accuracy");
  flags.declare(line);
  Settings& f = line.flags();
  f.heading("Text");
  f.field("file", file,
          "perplexity: .jsonl, each row's text or input_ids is one document; .txt: one document. "
          "choices: .jsonl of {context, choices, gold}")
      .placeholder("FILE")
      .required();
  f.field("context", context, "cut documents to this many tokens; 0: the model's limit")
      .range(at_least(0));
  f.heading("Output");
  f.field("json", json, "one JSON object: nll, ppl, tokens; or acc, acc_norm, …");
  line.example("nibble eval perplexity model/ --file test.jsonl --dtype f32");
  line.example("nibble eval perplexity model/ --file test.txt --quant nf4 --adapter out/");
  line.example("nibble eval choices model/ --file questions.jsonl");
  if (!line.parse(arguments)) return 0;
  if (measure != "perplexity" && measure != "choices")
    throw UserError("command line", cat("eval cannot measure '", measure, "' yet"),
                    "nibble eval perplexity MODEL --file F, or nibble eval choices …");
  std::vector<ChoiceItem> items;
  if (measure == "choices") items = read_choices(file);

  const Device device = flags.device();
  const Model model = flags.load(device);
  std::unique_ptr<Tokenizer> tokenizer;
  const Blueprint& b = model.decoder->blueprint();
  if (Tokenizer::present(model.tokenizer_directory))
    tokenizer = load_fitting_tokenizer(model.tokenizer_directory, b.vocab);
  log::Progress progress;
  if (measure == "choices") {
    if (!tokenizer)
      throw UserError(model.directory, "has no tokenizer to read questions with",
                      "put tokenizer.json beside the weights", Exit::missing_input);
    const ChoiceReport report =
        score_choices(device, model, *tokenizer, items, [&](int64_t done, int64_t all) {
          progress.update(
              cat("eval      ", human_count(done), "/", human_count(all), " questions"));
        });
    progress.finish();
    return print_choices(report, json);
  }
  const int64_t limit = context > 0 ? std::min(context, b.max_positions) : b.max_positions;
  const std::vector<Document> documents = read_scored_file(file, tokenizer.get(), limit, b.vocab);
  const Score s = score(device, model, documents, 2048, [&](int64_t done, int64_t all) {
    progress.update(cat("eval      ", human_count(done), "/", human_count(all), " documents"));
  });
  progress.finish();
  if (s.tokens == 0)
    throw UserError(file, "has no token to predict", "documents need at least two tokens",
                    Exit::bad_data);
  if (json) {
    Json out = {{"nll", s.mean()}, {"ppl", std::exp(s.mean())}, {"tokens", s.tokens}};
    std::printf("%s\n", dump_json(out).c_str());
  } else {
    std::printf("perplexity %s  nll %s  tokens %s\n", fixed(std::exp(s.mean()), 4).c_str(),
                fixed(s.mean(), 6).c_str(), human_count(s.tokens).c_str());
  }
  return 0;
}

}  // namespace nibble
