#include "trainer/session.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "autograd/tape.h"
#include "base/errors.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/random.h"
#include "model/files/hf_directory.h"
#include "model/files/peft_tokens.h"
#include "model/files/safetensors.h"
#include "model/text/token_roles.h"
#include "model/text/tokenizer_chat.h"
#include "trainer/gradient_tree.h"

namespace nibble {
namespace {

// lora_* keys of a recipe that starts from an adapter on disk may repeat its config, no more.
void check_repeated_keys(const Recipe& recipe, const AdapterConfig& adapter,
                         const Decoder& decoder) {
  std::vector<UserError> all;
  auto same = [&](const char* key, bool equal, const std::string& asked, const std::string& has) {
    if (recipe.gives(key) && !equal)
      all.emplace_back(recipe.file,
                       cat(key, " is ", asked, ", the adapter in lora_model_dir has ", has),
                       "remove the key, or start a fresh adapter");
  };
  same("lora_r", recipe.lora_r == adapter.r, cat(recipe.lora_r), cat(adapter.r));
  same("lora_alpha", recipe.lora_alpha == adapter.alpha, cat(recipe.lora_alpha),
       cat(adapter.alpha));
  same("lora_dropout", recipe.lora_dropout == adapter.dropout, cat(recipe.lora_dropout),
       cat(adapter.dropout));
  same("use_rslora", recipe.use_rslora == adapter.rslora, cat(recipe.use_rslora),
       cat(adapter.rslora));
  if (recipe.gives("lora_modules_to_save"))
    same("lora_modules_to_save", recipe.lora_modules_to_save == adapter.modules_to_save,
         join(recipe.lora_modules_to_save, " "), join(adapter.modules_to_save, " "));
  if (recipe.gives("trainable_token_indices")) {
    std::map<std::string, std::vector<int64_t>> asked;
    for (const TrainedRows& rows : recipe.trainable_token_indices)
      for (const TokenIndex& i : rows.ids) asked[rows.table].push_back(i.id);
    same("trainable_token_indices", asked == adapter.token_indices, "one list", "another");
  }
  if (recipe.gives("lora_target_modules")) {
    std::vector<std::string> paths, have;
    for (const Linear* linear : decoder.linears()) {
      paths.push_back(linear->path());
      if (linear->adapter(0)) have.push_back(linear->path());
    }
    const auto asked =
        match_targets(recipe.adapter_config(), paths, decoder.blueprint().names.head);
    same("lora_target_modules", asked == have, cat(asked.size(), " layers"),
         cat(have.size(), " layers"));
  }
  if (!all.empty()) throw UserErrors(std::move(all));
}

}  // namespace

Session::Session(const Recipe& recipe)
    : recipe_(recipe), device_(Device::cpu(static_cast<int>(recipe.threads))) {
  const std::string directory = resolve_model(recipe.base_model);
  std::string config;
  const Json json = read_model_config(directory, &config);
  blueprint_ = read_blueprint(json, config);
  added_ = add_tokens(recipe, directory, blueprint_.vocab);
  blueprint_.vocab = added_.vocab;
  load_tokenizer(directory);
  load_data();
  load_model_and_adapter(directory);
  OrderOptions order;
  order.rows = rows();
  order.micro_batch_size = recipe.micro_batch_size;
  order.accumulation = recipe.gradient_accumulation_steps;
  order.shuffle = recipe.shuffle;
  order.seed = static_cast<uint64_t>(recipe.seed);
  order_ = std::make_unique<Order>(order);
  total_steps_ = recipe.max_steps.value_or(static_cast<int64_t>(
      std::ceil(recipe.num_epochs * static_cast<double>(order_->steps_per_epoch()))));
  const auto warmup =
      recipe.warmup_ratio > 0
          ? static_cast<int64_t>(std::ceil(recipe.warmup_ratio * static_cast<double>(total_steps_)))
          : recipe.warmup_steps;
  const std::string curve =
      recipe.lr_scheduler == "constant" ? "constant_with_warmup" : recipe.lr_scheduler;
  schedule_ = std::make_unique<Schedule>(curve, recipe.learning_rate, warmup, total_steps_);
  make_update();
}

void Session::load_tokenizer(const std::string& directory) {
  if (!added_.tokenizer) return;
  chat_ = std::make_unique<ChatTemplate>(chat_template_of(
      *added_.tokenizer, directory, recipe_.template_choice(), recipe_.chat_template_where.str()));
}

void Session::load_model_and_adapter(const std::string& directory) {
  log::Progress progress;
  LoadOptions options = recipe_.load_options();
  options.vocab = added_.vocab;
  options.progress = [&](int64_t done, int64_t all) {
    progress.update(cat("loading   ", human_bytes(done), " of ", human_bytes(all)));
  };
  model_ = load_model(device_, directory, options);
  progress.finish();
  model_.options.progress = nullptr;
  const bool four_bit = model_.prequantized && model_.quant && rule_of(model_.quant->format).coded;
  if (recipe_.adapter == "lora" && four_bit)
    throw UserError(recipe_.base_model, "is a 4-bit base, the recipe says adapter: lora",
                    "use adapter: qlora");
  provenance_.base_model = recipe_.base_model;
  provenance_.quant = model_.options.quant;
  if (model_.prequantized) provenance_.quant.linears = model_.quant;  // to be read, not to be used
  provenance_.prequantized = model_.prequantized;
  provenance_.fingerprint = fingerprint_of(directory);
  if (!recipe_.full()) {
    adapter_ = recipe_.adapter_config();
    if (recipe_.lora_model_dir.empty()) {
      fresh_adapter();
    } else {
      adapter_ = load_adapter(recipe_.lora_model_dir, *model_.decoder, 0, true, device_);
      check_repeated_keys(recipe_, adapter_, *model_.decoder);
      adapter_.base_model = recipe_.base_model;
    }
  }
  parameters_ = model_.decoder->parameters();
}

// A from U(-1/√in, 1/√in) (Kaiming uniform with a = √5, as PEFT starts), B zero.
void Session::fresh_adapter() {
  std::vector<std::string> paths;
  for (const Linear* linear : model_.decoder->linears()) paths.push_back(linear->path());
  const auto targets = match_targets(adapter_, paths, model_.decoder->blueprint().names.head);
  for (const std::string& path : targets) {
    Linear* linear = model_.decoder->find_linear(path);
    auto pair = std::make_shared<LoraPair>();
    pair->a.name = path + ".lora_A.weight";
    pair->b.name = path + ".lora_B.weight";
    pair->a.value =
        Tensor::empty(device_.memory(), {adapter_.r, linear->in()}, DType::f32, Purpose::adapter);
    pair->b.value =
        Tensor::zeros(device_.memory(), {linear->out(), adapter_.r}, DType::f32, Purpose::adapter);
    const RngKey key{static_cast<uint64_t>(recipe_.seed), rng_site(pair->a.name), 0, 0};
    const double bound = 1.0 / std::sqrt(static_cast<double>(linear->in()));
    for (int64_t i = 0; i < pair->a.value.numel(); ++i)
      pair->a.value.data<float>()[i] =
          static_cast<float>((2 * random_uniform(key, static_cast<uint64_t>(i / linear->in()),
                                                 static_cast<uint64_t>(i % linear->in())) -
                              1) *
                             bound);
    pair->scale = adapter_.scale();
    pair->dropout = adapter_.dropout;
    pair->trains = true;
    pair->site = rng_site(path);
    linear->set_adapter(0, pair);
  }
  const Blueprint& b = model_.decoder->blueprint();
  choose_rows(recipe_, added_.ids, b, adapter_);
  fresh_tokens(token_targets(adapter_, b, b.vocab, recipe_.file), *model_.decoder, device_);
}

void Session::load_data() {
  RowReader reader;
  reader.tokenizer = added_.tokenizer.get();
  reader.chat = chat_.get();
  reader.vocab = blueprint_.vocab;
  reader.sequence_len = std::min(recipe_.sequence_len, blueprint_.max_positions);
  reader.train_on_inputs = recipe_.train_on_inputs;
  for (const DatasetSpec& spec : recipe_.datasets) {
    Dataset one = read_dataset(spec, reader);
    data_.cut += one.cut;
    data_.dropped += one.dropped;
    if (data_.first_dropped.empty()) data_.first_dropped = one.first_dropped;
    std::move(one.rows.begin(), one.rows.end(), std::back_inserter(data_.rows));
  }
  if (data_.dropped > 0)
    log::warning(cat(data_.dropped,
                     " rows lost every target when cut to sequence_len and were left "
                     "out, the first is ",
                     data_.first_dropped));
  int64_t sample = 0;
  for (Row& row : data_.rows)
    for (Document& d : row.documents) d.sample = sample++;
  const auto all = static_cast<int64_t>(data_.rows.size());
  const auto held = static_cast<int64_t>(
      recipe_.val_set_size < 1 ? std::ceil(recipe_.val_set_size * static_cast<double>(all))
                               : recipe_.val_set_size);
  if (held >= all)
    throw UserError(recipe_.file, cat("val_set_size holds out ", held, " of ", all, " rows"),
                    "leave rows to train on");
  const Split2 split = hold_out(all, held, static_cast<uint64_t>(recipe_.seed));
  for (int64_t i : split.held_out)
    for (const Document& d : data_.rows[static_cast<size_t>(i)].documents) held_out_.push_back(d);
  for (int64_t i : split.train) rows_.push_back(data_.rows[static_cast<size_t>(i)]);
  for (const DatasetSpec& spec : recipe_.test_datasets)
    for (const Row& row : read_dataset(spec, reader).rows)
      for (const Document& d : row.documents) held_out_.push_back(d);
  if (recipe_.sample_packing) {
    rows_ = pack_rows(std::move(rows_), reader.sequence_len);
    int64_t tokens = 0;
    for (const Row& row : rows_) tokens += row.tokens();
    packed_share_ = static_cast<double>(tokens) / static_cast<double>(reader.sequence_len * rows());
  }
}

void Session::micro_batch(const std::vector<int64_t>& rows, int64_t epoch, StepResult& result) {
  std::vector<Document> documents;
  for (int64_t r : rows) {
    const Row& row = rows_[static_cast<size_t>(r)];
    documents.insert(documents.end(), row.documents.begin(), row.documents.end());
  }
  PackedBatch batch = pack(device_.memory(), documents);
  Tape tape;
  Ctx ctx(device_, recipe_.compute(), &tape);
  ctx.loss_scale = update_->loss_scale();
  Dropout dropout{static_cast<uint64_t>(recipe_.seed), static_cast<uint64_t>(epoch)};
  ForwardContext context{ctx};
  context.packed = &batch.segments;
  context.dropout = &dropout;
  if (!recipe_.full()) context.adapters = {{0, 0, batch.segments.tokens}};
  const Checkpointing checkpointing = recipe_.gradient_checkpointing == "every_layer"
                                          ? Checkpointing::every_layer
                                          : Checkpointing::off;
  Var hidden = model_.decoder->hidden(context, batch.ids, checkpointing);
  Var loss = model_.decoder->loss(context, hidden, batch.labels);
  result.loss += *loss.value().data<double>();
  result.targets += batch.target_tokens;
  result.tokens += batch.segments.tokens;
  Tensor seed = Tensor::empty(device_.memory(), {1}, DType::f64, Purpose::gradient);
  *seed.data<double>() = 1.0;
  tape.backward(ctx, loss, seed);
}

void Session::check_every_gradient_came(int64_t s) const {
  if (s != 0) return;
  for (const Parameter* p : parameters_)
    check(p->grad.defined(), cat("trained tensor without a gradient in step 1: ", p->name));
}

StepResult Session::step(int64_t s) {
  StepResult result;
  const int64_t epoch = order_->epoch_of(s);
  const Ctx ctx(device_, recipe_.compute());
  GradientTree tree(ctx);
  for (const auto& rows : order_->step(s)) {
    micro_batch(rows, epoch, result);
    tree.add_leaf(parameters_);
  }
  tree.finish(parameters_);
  check_every_gradient_came(s);
  const double mean = 1.0 / static_cast<double>(result.targets);
  result.loss *= mean;
  result.rate = schedule_->rate(s);
  result.loss_scale = update_->loss_scale();
  const Update::Result done = update_->apply(ctx, result.loss, result.rate, mean);
  result.outcome = done.outcome;
  result.grad_norm = done.grad_norm;
  for (Parameter* p : parameters_) p->grad = Tensor();
  return result;
}

Score Session::evaluate() { return score(device_, model_, held_out_); }

int64_t Session::trained_count() const {
  int64_t n = 0;
  for (const Parameter* p : parameters_) n += p->value.numel();
  return n;
}

void Session::save_weights(const std::string& folder, DType full_dtype) const {
  if (recipe_.full()) {
    save_full_model(device_, folder, model_, full_dtype, int64_t{5} << 30);
  } else {
    save_adapter(folder, adapter_, *model_.decoder, 0);
    save_provenance(folder, provenance_);
  }
  save_tokenizer(folder);
  // A template of the user's own goes where the weights go: serve asks as training did.
  if (chat_ && !recipe_.template_choice().empty())
    write_file(join_path(folder, "chat_template.jinja"), chat_->source());
}

// Where it is not the base's as it is.
void Session::save_tokenizer(const std::string& folder) const {
  if (added_.change.empty() && (recipe_.full() || added_.source == model_.directory)) return;
  write_changed_tokenizer(added_.source, added_.change, folder);
  if (!recipe_.full() || added_.change.roles.empty()) return;
  const auto before = Tokenizer::load(added_.source);
  for (const char* name : {"config.json", "generation_config.json"}) {
    const std::string path = join_path(folder, name);
    if (!exists(path)) continue;
    Json config = read_json(path);
    follow_roles(*before, *added_.tokenizer, std::string(name) == "config.json", config);
    write_file(path, dump_json(config, 2) + "\n");
  }
}

}  // namespace nibble
