// POST /v1/chat/completions: the next turn of a conversation.
#include "serving/http/answer.h"

namespace nibble::serving::http {

void post_chat_completions(Service& service, const HttpRequest& request,
                           const std::shared_ptr<Reply>& reply) {
  begin_answer(service, read_chat_completion(request.body, service.backend), request, reply);
}

}  // namespace nibble::serving::http
