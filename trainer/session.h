// What one run holds in memory: device, model with its adapter, data, optimizer, schedule. Made
// once from a recipe; steps are methods.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "model/files/provenance.h"
#include "model/model.h"
#include "model/text/chat_template.h"
#include "model/text/tokenizer.h"
#include "optim/schedule.h"
#include "trainer/added_tokens.h"
#include "trainer/evaluate.h"
#include "trainer/order.h"
#include "trainer/recipe.h"
#include "trainer/rows.h"
#include "trainer/update.h"

namespace nibble {

struct StepResult {
  double loss = 0;       // mean over the step's target tokens
  double grad_norm = 0;  // before clipping
  Outcome outcome = Outcome::updated;
  double loss_scale = 1;  // that the step was made under
  double rate = 0;
  int64_t targets = 0;  // labels that count
  int64_t tokens = 0;   // tokens read
};

class Session {
 public:
  explicit Session(const Recipe& recipe);

  // Step s from 0. Where the outcome is not `updated`, nothing was changed.
  StepResult step(int64_t s);
  Score evaluate();  // on what is held out
  bool has_held_out() const { return !held_out_.empty(); }

  int64_t total_steps() const { return total_steps_; }
  int64_t steps_per_epoch() const { return order_->steps_per_epoch(); }
  const Device& device() const { return device_; }
  const Model& model() const { return model_; }
  const AdapterConfig& adapter() const { return adapter_; }
  const AddedTokens& added() const { return added_; }
  const Dataset& dataset() const { return data_; }
  int64_t rows() const { return static_cast<int64_t>(rows_.size()); }
  double packed_share() const { return packed_share_; }
  const std::vector<Parameter*>& parameters() const { return parameters_; }
  int64_t trained_count() const;
  const Update& update() const { return *update_; }

  // The trained weights and the optimizer's state, into a folder that exists and back.
  void save_weights(const std::string& folder, DType full_dtype) const;
  void save_optimizer(const std::string& folder) const;
  // `update`: what update().state() gave.
  void load_checkpoint(const std::string& directory, const Json& update);

 private:
  void load_tokenizer(const std::string& directory);
  void load_data();
  void load_model_and_adapter(const std::string& directory);
  void fresh_adapter();
  void make_update();
  bool is_embedding(const Parameter& parameter) const;
  void save_tokenizer(const std::string& folder) const;
  void micro_batch(const std::vector<int64_t>& rows, int64_t epoch, StepResult& result);
  void check_every_gradient_came(int64_t s) const;

  const Recipe& recipe_;
  Device device_;
  Blueprint blueprint_;  // read first: data is checked before any weight is
  AddedTokens added_;    // and the tokenizer with them
  std::unique_ptr<ChatTemplate> chat_;
  Model model_;
  AdapterConfig adapter_;
  Provenance provenance_;
  Dataset data_;
  std::vector<Row> rows_;
  std::vector<Document> held_out_;
  double packed_share_ = 1;
  std::unique_ptr<Order> order_;
  std::unique_ptr<Schedule> schedule_;
  std::unique_ptr<Update> update_;
  std::vector<Parameter*> parameters_;
  int64_t total_steps_ = 0;
};

}  // namespace nibble
