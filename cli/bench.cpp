// nibble bench make-model: random weights for a config.json. Other measures have their own files.
#include <cstdio>

#include "base/errors.h"
#include "base/files.h"
#include "cli/bench_optim.h"
#include "cli/bench_quant.h"
#include "cli/bench_tokenize.h"
#include "cli/command_line.h"
#include "model/model.h"

namespace nibble {

int run_bench(const std::vector<std::string>& arguments) {
  if (!arguments.empty() && arguments[0] == "quant")
    return run_bench_quant({arguments.begin() + 1, arguments.end()});
  if (!arguments.empty() && arguments[0] == "tokenize")
    return run_bench_tokenize({arguments.begin() + 1, arguments.end()});
  if (!arguments.empty() && arguments[0] == "optim")
    return run_bench_optim({arguments.begin() + 1, arguments.end()});
  CommandLine line("bench", "make test models, measure this machine",
                   "make-model CONFIG.json OUT [--seed N]\n       nibble bench optim --help\n"
                   "       nibble bench quant --help\n       nibble bench tokenize --help");
  std::string what, config, out;
  int64_t seed = 0;
  line.positional("WHAT", what, "make-model");
  line.positional("CONFIG.json", config, "a model's config.json");
  line.positional("OUT", out, "the directory to write; it must not exist");
  line.flags().heading("Options");
  line.flags().field("seed", seed, "the same seed gives the same bytes").range(at_least(0));
  line.note(
      "Matrices are drawn from N(0, initializer_range), norms are 1, biases 0; the dtype is the "
      "config's.");
  if (!line.parse(arguments)) return 0;
  if (what != "make-model")
    throw UserError("command line", cat("bench cannot '", what, "' yet"),
                    "nibble bench make-model CONFIG.json OUT --seed N, nibble bench tokenize "
                    "TOKENIZER, or nibble bench quant");
  if (exists(out))
    throw UserError(out, "exists already", "name a directory that does not, or remove it",
                    Exit::cannot_create);
  const Device device = Device::cpu();
  make_model(device, config, out, static_cast<uint64_t>(seed));
  std::printf("wrote     %s\n", out.c_str());
  return 0;
}

}  // namespace nibble
