// nibble eval perplexity: how well a model predicts a file.
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/log.h"
#include "cli/command_line.h"
#include "cli/model_flags.h"
#include "model/files/hf_directory.h"
#include "model/text/tokenizer_fit.h"
#include "trainer/evaluate.h"

namespace nibble {

int run_eval(const std::vector<std::string>& arguments) {
  CommandLine line("eval", "measure a model", "perplexity MODEL --file F [options]");
  std::string measure, file;
  bool json = false;
  int64_t context = 0;
  ModelFlags flags;
  line.positional("MEASURE", measure, "perplexity");
  flags.declare(line);
  Settings& f = line.flags();
  f.heading("Text");
  f.field("file", file, ".jsonl: each row's text or input_ids is one document; .txt: one document")
      .placeholder("FILE")
      .required();
  f.field("context", context, "cut documents to this many tokens; 0: the model's limit")
      .range(at_least(0));
  f.heading("Output");
  f.field("json", json, "one JSON object: nll, ppl, tokens");
  line.example("nibble eval perplexity model/ --file test.jsonl --dtype f32");
  line.example("nibble eval perplexity model/ --file test.txt --quant nf4 --adapter out/");
  if (!line.parse(arguments)) return 0;
  if (measure != "perplexity")
    throw UserError("command line", cat("eval cannot measure '", measure, "' yet"),
                    "nibble eval perplexity MODEL --file F");

  const Device device = flags.device();
  const Model model = flags.load(device);
  std::unique_ptr<Tokenizer> tokenizer;
  const Blueprint& b = model.decoder->blueprint();
  if (Tokenizer::present(model.tokenizer_directory))
    tokenizer = load_fitting_tokenizer(model.tokenizer_directory, b.vocab);
  const int64_t limit = context > 0 ? std::min(context, b.max_positions) : b.max_positions;
  const std::vector<Document> documents = read_scored_file(file, tokenizer.get(), limit, b.vocab);
  log::Progress progress;
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
