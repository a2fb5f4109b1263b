// Bookkeeping of one sequence.
#include "serving/sequence.h"

#include "base/errors.h"

namespace nibble::serving {
namespace {

// The output's text continues the prompt's: a SentencePiece decoder that believed it was at the
// start would drop the first space. The last prompt token that decodes to text of its own, with
// nothing left over, tells it otherwise.
StreamDecoder decoder_after(const std::vector<int32_t>& prompt, const Tokenizer& tokenizer) {
  constexpr size_t kLookBack = 32;
  const size_t from = prompt.size() > kLookBack ? prompt.size() - kLookBack : 0;
  for (size_t i = prompt.size(); i-- > from;) {
    StreamDecoder decoder(tokenizer), probe(tokenizer);
    const std::string text = decoder.push(prompt[i]);
    if (!text.empty() && probe.push(prompt[i]) + probe.finish() == text) return decoder;
  }
  return StreamDecoder(tokenizer);
}

}  // namespace

Sequence::Sequence(Request r, uint64_t draw_seed, const Tokenizer* tokenizer)
    : request(std::move(r)),
      seed(draw_seed),
      tokens(request.prompt),
      stop_(request.sampling.stop, request.sampling.include_stop) {
  check(!tokens.empty(), "a request without a prompt");
  check(tokenizer != nullptr || request.sampling.stop.empty(), "stop strings without a tokenizer");
  if (tokenizer != nullptr) decoder_.emplace(decoder_after(tokens, *tokenizer));
  // Nothing predicts the first token.
  if (request.sampling.prompt_logprobs) prompt_logprobs.push_back({tokens[0], 0, {}});
}

void Sequence::move(State to) {
  check(may_move(state_, to),
        cat("request ", request.id, ": ", name_of(state_), " → ", name_of(to)));
  state_ = to;
}

void Sequence::free_blocks() {
  // The tail first: what a later prompt may share is at the front and should live longest.
  while (!blocks.empty()) blocks.pop_back();
}

void Sequence::preempt() {
  move(State::preempted);
  free_blocks();
  computed = 0;
}

void Sequence::append(int32_t token, bool shows, Event& event) {
  tokens.push_back(token);
  event.tokens.push_back(token);
  if (decoder_ && shows) release(decoder_->push(token), event);
}

void Sequence::flush(Event& event) {
  if (!decoder_) return;
  release(decoder_->finish(), event);
  event.text += stop_.finish();
}

void Sequence::release(const std::string& text, Event& event) {
  if (stop_.stopped()) return;
  // Until min_tokens are out, a stop string is ordinary text.
  if (output() < request.sampling.min_tokens) {
    event.text += text;
    return;
  }
  event.text += stop_.push(text);
  if (!stop_.stopped()) return;
  event.finish = FinishReason::stop;
  event.stop_reason = stop_.reason();
}

}  // namespace nibble::serving
