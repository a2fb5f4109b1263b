// One request being answered: submits its choices, folds the engine's events into one body or a
// stream, cancels what is left when the client goes. Lives on the connection's strand.
#pragma once

#include <memory>

#include "serving/http/openai.h"
#include "serving/http/service.h"

namespace nibble::serving::http {

// Takes over from a route once the request is checked; any thread.
void begin_answer(Service& service, Generation generation, const HttpRequest& request,
                  const std::shared_ptr<Reply>& reply);

}  // namespace nibble::serving::http
