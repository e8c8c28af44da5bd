/* Lets User-mode Linux run on processors that are newer than it.
 *
 * It gives a process back as much of its extended registers as processors had when it was written. A processor with AMX has more, and
 * the kernel of the machine takes all of them or none. So the rest is added here, as what it is in a guest that knows nothing of it:
 * in its initial state, which zeros stand for. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

#define NT_X86_XSTATE 0x202

typedef long call(int, pid_t, void *, void *);

static char whole[1 << 16];
static size_t length;

long ptrace(enum __ptrace_request request, ...)
{
    va_list rest;
    va_start(rest, request);
    pid_t pid = va_arg(rest, pid_t);
    void *address = va_arg(rest, void *);
    void *data = va_arg(rest, void *);
    va_end(rest);
    static call *next;
    if (next == NULL)
        next = (call *)dlsym(RTLD_NEXT, "ptrace");
    if (request != PTRACE_SETREGSET || (long)address != NT_X86_XSTATE)
        return next(request, pid, address, data);
    const struct iovec *given = data;
    struct iovec all = {whole, sizeof whole};
    /* The length is the processor's, and so the same for all processes. */
    if (length == 0 && next(PTRACE_GETREGSET, pid, address, &all) == 0) {
        length = all.iov_len;
        memset(whole, 0, sizeof whole);
    }
    if (length <= given->iov_len)
        return next(request, pid, address, data);
    memcpy(whole, given->iov_base, given->iov_len);
    all.iov_len = length;
    return next(request, pid, address, &all);
}
