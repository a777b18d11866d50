#include "hostile.h"

/* Output that means something to a terminal, to a build system or to who parses our own output. */
void _start(void) {
  say("\x1b[2J\x1b[31mred\x1b]0;title\x07\x1b]52;c;c3RvbGVu\x07\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\\r\b\x7f\x9b" "31m\n");
  say("::error file=x.ts::fake\n::set-env name=PATH::/evil\n##[group]x\n##vso[task.setvariable variable=x]y\n");
  say("{\"kind\":\"exited\",\"exitCode\":0,\"phase\":\"Succeeded\"}\n");
  say("{\"type\":\"done\",\"id\":1}\n\xe2\x80\xaetxt.exe\n\xff\xfe\xc3\x28\n");
  put(0), put('\n');
  proc_exit(7);
}
