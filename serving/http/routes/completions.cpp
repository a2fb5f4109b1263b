// POST /v1/completions: text or ids go on.
#include "serving/http/answer.h"

namespace nibble::serving::http {

void post_completions(Service& service, const HttpRequest& request,
                      const std::shared_ptr<Reply>& reply) {
  begin_answer(service, read_completion(request.body, service.backend), request, reply);
}

}  // namespace nibble::serving::http
