// Fields that completions and chat completions share, and those nibble refuses by name.
#pragma once

#include "serving/http/json_fields.h"
#include "serving/http/openai.h"

namespace nibble::serving::http {

const ServedModel& find_model(Fields& fields, const Backend& backend);
void read_sampling(Fields& fields, const Backend& backend, Generation& out);
void read_streaming(Fields& fields, Generation& out);
// Known elsewhere, not here: only the value that changes nothing is accepted.
void refuse_unsupported(Fields& fields, bool chat);
// After prompts and max_tokens are known.
void check_lengths(const Generation& generation, const Backend& backend, const std::string& param,
                   const std::string& max_tokens_param);

}  // namespace nibble::serving::http
