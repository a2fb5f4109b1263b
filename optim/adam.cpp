// Adam (Kingma and Ba, ICLR 2015): m and v as in adamw.cpp. Weight decay, where one is set, is
// decoupled as there, not added to the gradient: so it is in bitsandbytes, and PyTorch's coupled
// form is what AdamW was written against. The two names differ in what recipes decay by default.
// bitsandbytes: `amsgrad` is ignored or refused, depending on the class; here it does not exist.
#include "optim/rule.h"

namespace nibble {

Rule rule_adam(const RuleOptions& options) { return adam_with_decay("adam", options); }

}  // namespace nibble
