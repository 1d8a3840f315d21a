/* faults.c - allocators of Python that fail on demand, for faults_memory.py

   call(first, last, own, function, *args) calls a function, in which the allocations number first to last of this thread fail, of
   all three domains; last 0: and all after it. own: only those that the extension rlimit._rlimit makes are counted, itself or
   by what it calls of Python's C functions; not those of Python code, its own and what it calls. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <dlfcn.h>
#include <elf.h>
#include <execinfo.h>
#include <link.h>
#include <string.h>

typedef struct Range {
    uintptr_t from, to;
} Range;

static PyMemAllocatorEx real[3];
static unsigned long owner; /* 0: nothing fails */
static long count, first, last, live;
static int own;
static Range interpreter, extension;

static int is_in(const Range *range, const void *address) {
    return (uintptr_t)address >= range->from && (uintptr_t)address < range->to;
}

/* Whether the extension is nearer on the stack than the interpreter's loop. */
static int is_own(void) {
    void *at[40];
    int i, depth = backtrace(at, 40);
    for (i = 0; i < depth; i++) {
        if (is_in(&extension, at[i])) return 1;
        if (is_in(&interpreter, at[i])) return 0;
    }
    return 0;
}

static int fails(void) {
    static int inside;
    int counts;
    if (__atomic_load_n(&owner, __ATOMIC_RELAXED) == 0 || owner != PyThread_get_thread_ident() || inside) return 0;
    inside = 1;
    counts = !own || is_own();
    inside = 0;
    if (!counts) return 0;
    count++;
    return count >= first && (last == 0 || count <= last);
}

static void *kept(void *memory) {
    if (memory != NULL) __atomic_fetch_add(&live, 1, __ATOMIC_RELAXED);
    return memory;
}

static void *fail_malloc(void *context, size_t size) {
    PyMemAllocatorEx *to = (PyMemAllocatorEx *)context;
    return fails() ? NULL : kept(to->malloc(to->ctx, size));
}
static void *fail_calloc(void *context, size_t number, size_t size) {
    PyMemAllocatorEx *to = (PyMemAllocatorEx *)context;
    return fails() ? NULL : kept(to->calloc(to->ctx, number, size));
}
static void *fail_realloc(void *context, void *memory, size_t size) {
    PyMemAllocatorEx *to = (PyMemAllocatorEx *)context;
    if (fails()) return NULL;
    return memory != NULL ? to->realloc(to->ctx, memory, size) : kept(to->realloc(to->ctx, memory, size));
}
static void fail_free(void *context, void *memory) {
    PyMemAllocatorEx *to = (PyMemAllocatorEx *)context;
    if (memory != NULL) __atomic_fetch_sub(&live, 1, __ATOMIC_RELAXED);
    to->free(to->ctx, memory);
}

static PyObject *faults_call(PyObject *module, PyObject *args) {
    PyObject *function, *rest, *answer;
    (void)module;
    if (PyTuple_GET_SIZE(args) < 4) return PyErr_SetString(PyExc_TypeError, "call(first, last, own, function, *args)"), NULL;
    first = PyLong_AsLong(PyTuple_GET_ITEM(args, 0));
    last = PyLong_AsLong(PyTuple_GET_ITEM(args, 1));
    own = PyObject_IsTrue(PyTuple_GET_ITEM(args, 2));
    function = PyTuple_GET_ITEM(args, 3);
    rest = PyErr_Occurred() ? NULL : PyTuple_GetSlice(args, 4, PyTuple_GET_SIZE(args));
    if (rest == NULL) return NULL;
    count = 0;
    __atomic_store_n(&owner, PyThread_get_thread_ident(), __ATOMIC_RELAXED);
    answer = PyObject_Call(function, rest, NULL);
    __atomic_store_n(&owner, 0, __ATOMIC_RELAXED);
    Py_DECREF(rest);
    return answer;
}

static PyObject *faults_failed(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyBool_FromLong(count >= first);
}
static PyObject *faults_live(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyLong_FromLong(live);
}

static int find_extension(struct dl_phdr_info *info, size_t size, void *unused) {
    int i;
    (void)size, (void)unused;
    if (strstr(info->dlpi_name, "/_rlimit.") == NULL) return 0;
    for (i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_X) != 0) {
            extension.from = (uintptr_t)info->dlpi_addr + (uintptr_t)info->dlpi_phdr[i].p_vaddr;
            extension.to = extension.from + (uintptr_t)info->dlpi_phdr[i].p_memsz;
        }
    return 1;
}

/* find() -> whether it is known where the interpreter's loop and the extension are, which has to be loaded. */
static PyObject *faults_find(PyObject *module, PyObject *unused) {
    Dl_info info;
    ElfW(Sym) *symbol = NULL;
    void *at[4], *loop = dlsym(RTLD_DEFAULT, "_PyEval_EvalFrameDefault");
    (void)module, (void)unused;
    if (loop != NULL && dladdr1(loop, &info, (void **)&symbol, RTLD_DL_SYMENT) != 0 && symbol != NULL) {
        interpreter.from = (uintptr_t)loop;
        interpreter.to = interpreter.from + (uintptr_t)symbol->st_size;
    }
    (void)dl_iterate_phdr(find_extension, NULL);
    (void)backtrace(at, 4); /* allocates the first time */
    return PyBool_FromLong(interpreter.to != 0 && extension.to != 0);
}

static PyMethodDef methods[] = {{"call", faults_call, METH_VARARGS, "call(first, last, own, function, *args)"},
                                {"failed", faults_failed, METH_NOARGS, "Whether an allocation of the last call failed."},
                                {"find", faults_find, METH_NOARGS, "To be called first, when the extension was imported."},
                                {"live", faults_live, METH_NOARGS, "Blocks allocated and not freed since this was loaded."},
                                {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "faults", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_faults(void);
PyMODINIT_FUNC PyInit_faults(void) {
    static const PyMemAllocatorDomain domains[3] = {PYMEM_DOMAIN_RAW, PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ};
    int i;
    for (i = 0; i < 3; i++) {
        PyMemAllocatorEx failing;
        failing.ctx = &real[i];
        failing.malloc = fail_malloc, failing.calloc = fail_calloc, failing.realloc = fail_realloc, failing.free = fail_free;
        PyMem_GetAllocator(domains[i], &real[i]);
        PyMem_SetAllocator(domains[i], &failing);
    }
    return PyModule_Create(&definition);
}
