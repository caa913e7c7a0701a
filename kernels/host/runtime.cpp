#include "host/runtime.h"

namespace veridical {
namespace host {
__thread Context context;
const Runtime* runtime;
}  // namespace host
}  // namespace veridical

extern "C" veridical::host::Context* veridical_host_context() { return &veridical::host::context; }
extern "C" void veridical_host_start(const veridical::host::Runtime* runtime) { veridical::host::runtime = runtime; }
