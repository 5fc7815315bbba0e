/**
 * @file
 * Athanor for C, and for every language that can call C: put a model inside your program.
 *
 *     ath_engine *engine = NULL;
 *     ath_model *model = NULL;
 *     ath_response *response = NULL;
 *     ath_error *error = NULL;
 *     if (ath_engine_create("{\"plugins\": [\"torch\", \"chem\"]}", &engine, &error)) return report(error);
 *     if (ath_model_load(engine, "models/glass-transition", &model, &error)) return report(error);
 *     ath_request *request = ath_request_create(model);
 *     ath_request_set_text(request, "smiles", "*CC(*)c1ccccc1", 14);
 *     if (ath_infer(request, &response, &error)) return report(error);
 *
 * Errors. A function that can fail returns a code: ATH_OK, which is 0, or another ath_code_number, as in
 * gRPC. Most of them also take `out_error`, which may be NULL: it is set to NULL on success, and otherwise to
 * an object that the caller destroys with ath_error_destroy. There is no "last error". Every other out
 * argument is NULL or 0 after a failure. If memory runs out even for the error object, a static one is
 * returned; destroy it like any other. No C++ exception crosses this boundary. NULL where an object or a text
 * is required is rejected with ATH_INVALID_ARGUMENT, and every function may fail with ATH_RESOURCE_EXHAUSTED
 * (no memory) or ATH_INTERNAL (a fault of the library); the comments name the other codes.
 *
 * Ownership. An object that a function returns is owned by the caller, who frees it with X_destroy or
 * X_release; both accept NULL and never fail. Never pass anything to free(). A returned `const char *` is
 * owned by the object that it was obtained from and lives as long as that object. Objects may be freed in any
 * order, and all may outlive their engine: they can then still be read, but calls are rejected with
 * ATH_UNAVAILABLE. Texts are UTF-8; names, paths and JSON end with a NUL, request texts are passed with their
 * length. A function borrows its arguments for the duration of the call, unless its comment says otherwise.
 *
 * Threads. Every function may be called from any thread. Engines, models and calls may be used by
 * many threads at the same time. A request may be used by only one thread at a time. Reading a
 * response, an error or a text is thread-safe. Destroying or releasing an object while another thread
 * uses it is undefined behaviour.
 *
 * Callbacks. A completion runs exactly once for every call that ath_submit accepted: on a thread of the
 * engine, or on the thread that is inside ath_call_cancel, ath_model_unload, ath_engine_stop or
 * ath_engine_destroy; never inside ath_submit. It may run before ath_submit has returned to its caller. The
 * finalizer runs exactly once for every ath_submit: after the completion, or inside an ath_submit that fails;
 * the library does not touch user_data afterwards. Both may use every function of their own engine except
 * those that would wait for the callback itself: ath_infer, ath_model_load and ath_engine_stop, which are
 * rejected there with ATH_FAILED_PRECONDITION and ATH_REASON_REENTRANT (ath_submit and ath_model_add take
 * their place). In a completion ath_engine_destroy returns at once, and a thread of the engine frees it
 * later. A callback that blocks keeps one of the engine's workers, and once it keeps the last one,
 * asynchronous calls wait until their deadlines. After an ath_engine_destroy outside of callbacks has
 * returned, no callback runs, except the finalizer of an ath_submit that is rejected because the engine is
 * gone. An exception or a panic must not leave a callback: it would terminate the process.
 *
 * Processes. In a child of fork() an engine of the parent has no threads: every function that needs the
 * engine fails with ATH_FAILED_PRECONDITION, and destroying or releasing an object of that engine returns at
 * once and frees nothing. Responses and other objects that are only read remain readable. The child may
 * create engines of its own.
 *
 * Versions. Structs begin with `struct_size`, set by the code that creates the struct (the _INIT macros do
 * this; a binding that cannot use them zeroes the struct and sets the field). Fields are only ever
 * appended, in groups of 8 bytes. A size smaller than that of the first version is rejected; a larger one,
 * up to 4096, is accepted: fields that this library does not know must be zero in a struct that it reads,
 * and are set to zero in one that it fills. The numbers of codes, reasons and types never change; new ones
 * are appended, so expect unknown values. Functions pass them as int32_t rather than as enums, whose size
 * depends on the compiler.
 */
#ifndef ATHANOR_H
#define ATHANOR_H

#include <stddef.h>
#include <stdint.h>

#include <athanor/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef ATH_API
#if defined(__GNUC__)
/**
 * The linkage of the functions below. May be defined before inclusion: as nothing for the static library, or
 * for a parser.
 */
#define ATH_API __attribute__((visibility("default")))
#else
#define ATH_API
#endif
#endif
#if defined(__cplusplus) && __cplusplus >= 201103L
/** `noexcept` in C++. */
#define ATH_NOEXCEPT noexcept
#else
#define ATH_NOEXCEPT
#endif

/** The version of the ABI in this header; compare with ath_abi_version(). */
#define ATH_ABI_VERSION 2
/**
 * The release that this header belongs to, for conditional compilation. ath_version() gives the version of
 * the loaded library.
 */
#define ATH_VERSION_MAJOR 0
/** See ATH_VERSION_MAJOR. */
#define ATH_VERSION_MINOR 1
/** See ATH_VERSION_MAJOR. */
#define ATH_VERSION_PATCH 0
/** The release as one number, which grows from release to release. */
#define ATH_VERSION_NUMBER (ATH_VERSION_MAJOR * 1000000 + ATH_VERSION_MINOR * 1000 + ATH_VERSION_PATCH)
/** As a deadline: the `default_deadline_ms` of the engine. */
#define ATH_DEADLINE_DEFAULT INT64_MIN
/** As the length of a dimension: not fixed. */
#define ATH_DIM_ANY (-1)

/** What a function returns: success, or the kind of failure. The numbers are those of gRPC. */
enum ath_code_number {
  ATH_OK = 0,                  /**< success */
  ATH_CANCELLED = 1,           /**< the caller cancelled the call, or unloaded the model */
  ATH_UNKNOWN = 2,             /**< an error without a code, of a backend or a processor */
  ATH_INVALID_ARGUMENT = 3,    /**< the caller's fault: the same call fails again */
  ATH_DEADLINE_EXCEEDED = 4,   /**< the deadline passed before the answer was ready */
  ATH_NOT_FOUND = 5,           /**< no such file, model, output or cached answer */
  ATH_ALREADY_EXISTS = 6,      /**< something different is registered under that name */
  ATH_PERMISSION_DENIED = 7,   /**< a file may not be read */
  ATH_RESOURCE_EXHAUSTED = 8,  /**< a limit, or no memory; see ath_error_retry_after_ns */
  ATH_FAILED_PRECONDITION = 9, /**< something must be set up first, or is not allowed here */
  ATH_ABORTED = 10,            /**< the state of the sequence of the call is lost */
  ATH_OUT_OF_RANGE = 11,       /**< an index beyond the count */
  ATH_UNIMPLEMENTED = 12,      /**< this version cannot do it */
  ATH_INTERNAL = 13,           /**< the model's or the library's fault */
  ATH_UNAVAILABLE = 14,        /**< busy, broken for now, or stopping; see ath_error_retry_after_ns */
  ATH_DATA_LOSS = 15           /**< a file does not match its manifest */
};

/** The finer cause behind a code. A backend registered by the host may return any of them. */
enum ath_reason_number {
  ATH_REASON_NONE = 0,              /**< none is known */
  ATH_REASON_SHAPE = 1,             /**< rank or dimension differs from the signature */
  ATH_REASON_DTYPE = 2,             /**< element type differs from the signature */
  ATH_REASON_MISSING_INPUT = 3,     /**< an input that the signature requires is absent */
  ATH_REASON_EXTRA_INPUT = 4,       /**< an input that the signature does not name */
  ATH_REASON_NON_FINITE = 5,        /**< NaN or infinity where the signature rejects them */
  ATH_REASON_VALUE_RANGE = 6,       /**< a value that its type or rule cannot hold */
  ATH_REASON_TOO_LARGE = 7,         /**< one request is above a limit of its own */
  ATH_REASON_SYNTAX = 8,            /**< text that its grammar rejects */
  ATH_REASON_CHEMISTRY = 9,         /**< a molecule that chemistry or the model's features reject */
  ATH_REASON_QUEUE_FULL = 10,       /**< the limit on items held is reached */
  ATH_REASON_MEMORY_FULL = 11,      /**< the limit on bytes held, by requests or by models, is reached */
  ATH_REASON_RATE = 12,             /**< a rate limit is reached; this library imposes none yet */
  ATH_REASON_EXPECTED_WAIT = 13,    /**< the call cannot end before its deadline */
  ATH_REASON_BREAKER_OPEN = 14,     /**< the circuit breaker rejects calls */
  ATH_REASON_DEADLINE_WAITING = 15, /**< the deadline passed before the work began */
  ATH_REASON_DEADLINE_RUNNING = 16, /**< the deadline passed while the work ran */
  ATH_REASON_CANCELLED = 17,        /**< the caller cancelled the call */
  ATH_REASON_STOPPING = 18,         /**< the engine is stopping */
  ATH_REASON_MODEL_MISSING = 19,    /**< no such model or version */
  ATH_REASON_MODEL_LOAD = 20,       /**< the model, or its plugin, could not be loaded */
  ATH_REASON_DIGEST = 21,           /**< a file's content does not have the digest in its manifest */
  ATH_REASON_MANIFEST = 22,         /**< the manifest is not valid */
  ATH_REASON_BUDGET = 23,           /**< the model is larger than the memory budget */
  ATH_REASON_BACKEND_CONTRACT = 24, /**< a backend answered with the wrong count, type or shape */
  ATH_REASON_BACKEND_FAILURE = 25,  /**< the model failed while it ran */
  ATH_REASON_OUT_OF_MEMORY = 26,    /**< the device or the host had no memory */
  ATH_REASON_DEVICE_LOST = 27,      /**< the device failed or was removed */
  ATH_REASON_MEMBER_FAILED = 28,    /**< a member of an ensemble failed */
  ATH_REASON_NOT_CACHED = 29,       /**< only-if-cached was requested, and the answer is not cached */
  ATH_REASON_REENTRANT = 30,        /**< a blocking call that would wait for its own thread */
  ATH_REASON_FILE = 31,             /**< a file could not be read or written */
  ATH_REASON_OPTION = 32,           /**< an option is unknown or impossible */
  ATH_REASON_OUTPUT_MISSING = 33,   /**< an output was requested that the model does not have */
  ATH_REASON_SEQUENCE_LOST = 34,    /**< the state of a sequence is gone, or the sequence is closed */
  ATH_REASON_SEQUENCE_BUSY = 35,    /**< another call of the sequence is in flight */
  ATH_REASON_SEQUENCES_FULL = 36    /**< the model has as many sequences as its manifest allows */
};

/** Element types, little-endian, in memory that is aligned to their size. */
enum ath_dtype_number {
  ATH_DTYPE_BOOL = 1, /**< one byte, 0 or 1 */
  ATH_DTYPE_U8 = 2,   /**< unsigned, 8 bits */
  ATH_DTYPE_I8 = 3,   /**< signed, 8 bits */
  ATH_DTYPE_I16 = 4,  /**< signed, 16 bits */
  ATH_DTYPE_I32 = 5,  /**< signed, 32 bits */
  ATH_DTYPE_I64 = 6,  /**< signed, 64 bits */
  ATH_DTYPE_F16 = 7,  /**< IEEE half precision */
  ATH_DTYPE_BF16 = 8, /**< the upper half of an f32 */
  ATH_DTYPE_F32 = 9,  /**< IEEE single precision */
  ATH_DTYPE_F64 = 10, /**< IEEE double precision */
  ATH_DTYPE_BYTES = 11, /**< any length per element: UTF-8 text, or any bytes where the model says so */
  ATH_DTYPE_U16 = 12,   /**< unsigned, 16 bits */
  ATH_DTYPE_U32 = 13,   /**< unsigned, 32 bits */
  ATH_DTYPE_U64 = 14    /**< unsigned, 64 bits */
};

/** Where memory lies. */
enum ath_device_number {
  ATH_DEVICE_CPU = 1, /**< main memory */
  ATH_DEVICE_CUDA = 2 /**< a GPU of NVIDIA's */
};

/** How a request uses the response cache. */
enum ath_cache_number {
  ATH_CACHE_USE = 0,           /**< look up, join an equal call in flight, store */
  ATH_CACHE_SKIP = 1,          /**< neither look up nor store */
  ATH_CACHE_REFRESH = 2,       /**< compute and store, whatever is stored */
  ATH_CACHE_ONLY_IF_CACHED = 3 /**< answer from the cache, or fail with ATH_REASON_NOT_CACHED */
};

/** What the cache did for a call. */
enum ath_cache_state_number {
  ATH_CACHE_STATE_OFF = 0,      /**< the cache was not looked up */
  ATH_CACHE_STATE_MISS = 1,     /**< the answer was computed */
  ATH_CACHE_STATE_HIT = 2,      /**< the answer came from the cache */
  ATH_CACHE_STATE_JOINED = 3,   /**< the answer came from an equal call in flight */
  ATH_CACHE_STATE_REFRESHED = 4 /**< the answer was computed without a look-up, and stored */
};

/** Why a call failed. Freed with ath_error_destroy; reading it is thread-safe. */
typedef struct ath_error ath_error;
/** A text that the library made. Freed with ath_text_destroy; reading it is thread-safe. */
typedef struct ath_text ath_text;
/** Models by name, with their queues, cache and threads. Freed with ath_engine_destroy; thread-safe. */
typedef struct ath_engine ath_engine;
/** A model of an engine. Freed with ath_model_release; thread-safe. */
typedef struct ath_model ath_model;
/** The inputs and options of a call. Freed with ath_request_destroy; not thread-safe. */
typedef struct ath_request ath_request;
/** An answer and its report. Freed with ath_response_destroy; reading it is thread-safe. */
typedef struct ath_response ath_response;
/** An asynchronous call that was accepted. Freed with ath_call_release; thread-safe. */
typedef struct ath_call ath_call;

/**
 * An array in borrowed memory; the fields are those of DLPack. Passed to a request, it describes an input;
 * obtained from a response, it describes an output, whose memory lives as long as the response.
 */
typedef struct ath_tensor_view {
  size_t struct_size;          /**< sizeof(ath_tensor_view) as its maker knows it */
  const void *data;            /**< may be NULL if there are no elements */
  const int64_t *strides;      /**< in elements, one per dimension, may be negative; NULL means compact
                                    row-major; never set in a response */
  const int64_t *offsets;      /**< ATH_DTYPE_BYTES: element i is the bytes
                                    offsets[i] .. offsets[i + 1] - 1, counted from byte_offset; NULL: one
                                    element, all of them */
  uint64_t size_bytes;         /**< of what `data` points to; may be 0 (not stated) but for ATH_DTYPE_BYTES */
  uint64_t byte_offset;        /**< in bytes, from `data` to the first element */
  int64_t shape[ATH_MAX_RANK]; /**< in elements; the first `ndim` count */
  int32_t ndim;                /**< number of dimensions, 0 to ATH_MAX_RANK */
  int32_t dtype;               /**< an ath_dtype_number */
  /** an ath_device_number; 0 is read as ATH_DEVICE_CPU, the only one that a request accepts */
  int32_t device_type;
  int32_t device_index;        /**< which of them; 0 for the CPU */
} ath_tensor_view;
/** An empty view with its size. */
#define ATH_TENSOR_VIEW_INIT {sizeof(ath_tensor_view), NULL, NULL, NULL, 0, 0, {0, 0, 0, 0, 0, 0, 0, 0}, 0, 0, 0, 0}

/** One input or output of a model, as its manifest says. Pointers live as long as the model object. */
typedef struct ath_tensor_spec {
  size_t struct_size;                  /**< sizeof(ath_tensor_spec) as its maker knows it */
  const char *name;                    /**< how requests and responses name it */
  const char *unit;                    /**< of its numbers; "" when there is none */
  /** NULL where a dimension has no name; "items" is the one that batches */
  const char *dim_names[ATH_MAX_RANK];
  int64_t shape[ATH_MAX_RANK];         /**< in elements; ATH_DIM_ANY where the length is not fixed */
  int64_t max_bytes;                   /**< limit of one ATH_DTYPE_BYTES element; 0 for none */
  int32_t ndim;                        /**< number of dimensions */
  int32_t dtype;                       /**< an ath_dtype_number */
  int32_t allows_non_finite;           /**< 1: NaN and infinity are accepted */
  int32_t reserved;                    /**< zero */
} ath_tensor_spec;
/** An empty specification with its size. */
#define ATH_TENSOR_SPEC_INIT                                                                       \
  {                                                                                                \
    sizeof(ath_tensor_spec), NULL, NULL, {NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL},         \
        {0, 0, 0, 0, 0, 0, 0, 0}, 0, 0, 0, 0, 0                                                    \
  }

/** What happened to one call. */
typedef struct ath_report {
  size_t struct_size;   /**< sizeof(ath_report) as its maker knows it */
  const char *model;    /**< name@version; lives as long as the response */
  int64_t prepare_ns;   /**< preprocessing the inputs */
  int64_t queue_ns;     /**< from entering the queue to the start of its batch */
  int64_t compute_ns;   /**< gathering, running and scattering its batch */
  int64_t total_ns;     /**< from the call to its answer */
  int32_t cache;        /**< an ath_cache_state_number */
  int32_t on_caller;    /**< 1: the caller's own thread ran the model */
  uint32_t attempts;    /**< executions that the call's items took part in */
  uint32_t batch_items; /**< items of the last batch it shared */
  uint32_t members;     /**< members of the ensemble that answered; 0 when it is not an ensemble */
  uint32_t reserved;    /**< zero */
  int64_t delivered_ns; /**< from the call to its return or its completion; never after its deadline */
} ath_report;
/** An empty report with its size. */
#define ATH_REPORT_INIT {sizeof(ath_report), NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/**
 * Called when an asynchronous call ends. `code` is ATH_OK and `response` is set, or it is the code of
 * `error`, which is set. The callee owns the one that is set.
 */
typedef void (*ath_completion)(void *user_data, int32_t code, ath_response *response, ath_error *error);
/** Called with `user_data` after its last use, for example to free it. */
typedef void (*ath_finalizer)(void *user_data);

/** The version of the loaded library, such as "0.1.0". Static. */
ATH_API const char *ath_version(void) ATH_NOEXCEPT;
/**
 * The ABI that the library offers: a program built with this header runs with a library of the same SONAME
 * whose number is not smaller. Before version 1.0 no more is promised than that.
 */
ATH_API int32_t ath_abi_version(void) ATH_NOEXCEPT;
/** "invalid_argument" for ATH_INVALID_ARGUMENT; "unknown" for a number that is no code. Static. */
ATH_API const char *ath_code_name(int32_t code) ATH_NOEXCEPT;
/** "missing_input" for ATH_REASON_MISSING_INPUT; "unknown" for a number that is no reason. Static. */
ATH_API const char *ath_reason_name(int32_t reason) ATH_NOEXCEPT;

/** The code that was returned with the error, never ATH_OK; ATH_OK for NULL. */
ATH_API int32_t ath_error_code(const ath_error *error) ATH_NOEXCEPT;
/** The finer cause, an ath_reason_number; ATH_REASON_NONE for NULL. */
ATH_API int32_t ath_error_reason(const ath_error *error) ATH_NOEXCEPT;
/**
 * One sentence that says what failed, where, what was expected and what was found; "" for NULL. Lives as long
 * as the error. One line of UTF-8: what it quotes, such as a path or a backend's message, is quoted with a
 * space for each control character that is white space, and with U+FFFD for every other one and for each byte
 * that is not UTF-8.
 */
ATH_API const char *ath_error_message(const ath_error *error) ATH_NOEXCEPT;
/**
 * How long to wait, in nanoseconds, before another try makes sense; 0 if waiting does not help, and for NULL.
 */
ATH_API int64_t ath_error_retry_after_ns(const ath_error *error) ATH_NOEXCEPT;
/** Frees the error. NULL is a no-op. */
ATH_API void ath_error_destroy(ath_error *error) ATH_NOEXCEPT;

/** The characters, which end with a NUL; "" for NULL. Live as long as the text. */
ATH_API const char *ath_text_data(const ath_text *text) ATH_NOEXCEPT;
/** The size in bytes, without the NUL; 0 for NULL. */
ATH_API size_t ath_text_size(const ath_text *text) ATH_NOEXCEPT;
/** Frees the text. NULL is a no-op. */
ATH_API void ath_text_destroy(ath_text *text) ATH_NOEXCEPT;

/**
 * Creates an engine with the settings of `options_json`, a JSON object; NULL or "{}" for the defaults. An
 * unknown key, a duplicate key and an invalid value are rejected with an error that names the key
 * (ATH_INVALID_ARGUMENT, ATH_REASON_OPTION). Starts no thread and opens no plugin: both happen when they are
 * first needed. A path in JSON text must be escaped.
 * - `plugins`: list of texts. "torch" means libathanor_torch.so, looked for beside this library and in
 *   athanor-0/ there, in the folders of ATHANOR_PLUGIN_PATH, and where dlopen looks; a text with '/' is a
 *   path. They are opened by the first ath_model_load or ath_model_add, which fails when one cannot be (the
 *   next one tries again), and stay in the process.
 * - `threads`: the maximum number of worker threads, besides one for timers and those of `load_threads`. 0,
 *   the default, means one per core, at least two.
 * - `caller_runs`: "when_idle", the default: a lone blocking call may run on its own thread; or "never".
 * - `default_deadline_ms`: the deadline of requests that set none. 30000.
 * - `max_items`, `max_bytes`: items, and bytes of inputs and of what processors made of them, held at once
 *   over all models, queued or running. 4096 and 256 MiB.
 * - `cache_bytes`: budget of the response cache; 0 turns it off. 64 MiB.
 * - `cache_ttl_ms`: how long an answer may be served from it. 0, the default, means until it is evicted.
 * - `model_bytes`: bytes that all loaded models together may hold, at least 1. No limit by default.
 * - `load_deadline_ms`: a load that takes longer fails for the calls that wait for it. 300000.
 * - `load_threads`: threads that load models, at most, 1 to 1024; as many others free them. 2.
 * - `breaker`: whether each model has a circuit breaker. true.
 */
ATH_API int32_t ath_engine_create(const char *options_json, ath_engine **out_engine, ath_error **out_error) ATH_NOEXCEPT;
/**
 * Stops with a grace of 30 s unless it was stopped, waits for callbacks that are running, and frees the
 * engine. NULL is a no-op. In a completion, a backend or a processor of the same engine, where it would wait
 * for itself, it rejects new calls and returns; the engine stops and is freed later, on one of its own threads.
 * The `release` of a backend's or processor's table is called after that.
 */
ATH_API void ath_engine_destroy(ath_engine *engine) ATH_NOEXCEPT;
/**
 * Rejects new calls at once, lets accepted calls, queued or running, finish until `grace_ns` nanoseconds (0
 * or more) have passed, answers the remaining ones with ATH_UNAVAILABLE, waits for running callbacks, and
 * joins the workers, except those that are still inside a backend: `*out_abandoned` (may be NULL) is their
 * number. A second stop waits for the first and returns the same count. Functions that only read the engine
 * still work afterwards. Fails with ATH_INVALID_ARGUMENT for a negative grace, and with
 * ATH_FAILED_PRECONDITION in a callback of the same engine.
 */
ATH_API int32_t ath_engine_stop(ath_engine *engine, int64_t grace_ns, uint64_t *out_abandoned,
                                ath_error **out_error) ATH_NOEXCEPT;
/**
 * Registers a backend of the host under its table's name. The table and its name are copied; what `context`
 * points to must stay valid until `release` has been called: once, after the engine, everything made from it,
 * and the threads that a stop left inside the backend are gone. A table that is rejected is not released. The
 * table's functions are called on threads of the engine and on threads that are inside a function of this
 * header. They may call ath_submit and functions that only read; they must not wait for the engine, stop it
 * or destroy it. Fails with ATH_INVALID_ARGUMENT for an incomplete table, and with ATH_ALREADY_EXISTS if a
 * different backend of that name is registered; registering an equal table again is a no-op.
 */
ATH_API int32_t ath_engine_add_backend(ath_engine *engine, const struct ath_backend_table *table,
                                       ath_error **out_error) ATH_NOEXCEPT;
/**
 * Registers a processor of the host, in the same way as ath_engine_add_backend. Also fails with
 * ATH_UNIMPLEMENTED for a table that this version of the library does not support (see ath_processor_table).
 */
ATH_API int32_t ath_engine_add_processor(ath_engine *engine, const struct ath_processor_table *table,
                                        ath_error **out_error) ATH_NOEXCEPT;
/**
 * Version, settings, plugins, backends, processors, and models with their inputs, outputs and parameters, as
 * a JSON object.
 */
ATH_API int32_t ath_engine_describe(const ath_engine *engine, ath_text **out_text, ath_error **out_error) ATH_NOEXCEPT;
/**
 * Whether the engine is live and ready, and why not, with the state of each model and what the dry run of its
 * last successful load could not verify (`note`), as a JSON object.
 */
ATH_API int32_t ath_engine_health(const ath_engine *engine, ath_text **out_text, ath_error **out_error) ATH_NOEXCEPT;
/** All metrics of this engine, and of no other, in the Prometheus text format. */
ATH_API int32_t ath_engine_metrics(const ath_engine *engine, ath_text **out_text, ath_error **out_error) ATH_NOEXCEPT;

/**
 * Registers and loads the model in `folder`, described by its athanor.json, and blocks until it is ready. A
 * relative path is resolved against the current working directory during this call. For a model that is
 * already registered, returns another object for it. Fails, among others, with ATH_NOT_FOUND (a file),
 * ATH_INVALID_ARGUMENT (the manifest), ATH_ALREADY_EXISTS (a different manifest of that name and version is
 * registered), ATH_DATA_LOSS (a digest), ATH_RESOURCE_EXHAUSTED (model_bytes), ATH_DEADLINE_EXCEEDED
 * (load_deadline_ms), ATH_UNAVAILABLE (the engine was stopped), ATH_FAILED_PRECONDITION (a plugin cannot be
 * opened, or something that the model needs is missing; or called in a callback of the same engine).
 */
ATH_API int32_t ath_model_load(ath_engine *engine, const char *folder, ath_model **out_model,
                               ath_error **out_error) ATH_NOEXCEPT;
/**
 * Like ath_model_load, but only reads the manifest and opens its processor: the first call that needs the
 * model loads it. May be called in a callback.
 */
ATH_API int32_t ath_model_add(ath_engine *engine, const char *folder, ath_model **out_model,
                              ath_error **out_error) ATH_NOEXCEPT;
/**
 * Finds a registered model: `name@version`, or `name` for its newest version. Fails with ATH_NOT_FOUND if
 * there is none.
 */
ATH_API int32_t ath_model_find(ath_engine *engine, const char *name, ath_model **out_model,
                               ath_error **out_error) ATH_NOEXCEPT;
/**
 * Releases the model's memory: on this thread if no call of it is in flight, else after the last one, without
 * waiting for that. A later call loads it again. A load in progress is abandoned: calls that wait for it are
 * answered with ATH_CANCELLED, and until it has ended, new calls are rejected with ATH_UNAVAILABLE. A no-op
 * for a model that is not loaded.
 */
ATH_API int32_t ath_model_unload(ath_model *model, ath_error **out_error) ATH_NOEXCEPT;
/** Releases the object; the model stays loaded. NULL is a no-op. */
ATH_API void ath_model_release(ath_model *model) ATH_NOEXCEPT;
/** `name@version`; NULL for NULL. Lives as long as the object. */
ATH_API const char *ath_model_id(const ath_model *model) ATH_NOEXCEPT;
/** The number of inputs of the model; 0 for NULL. */
ATH_API size_t ath_model_input_count(const ath_model *model) ATH_NOEXCEPT;
/** The number of outputs of the model; 0 for NULL. */
ATH_API size_t ath_model_output_count(const ath_model *model) ATH_NOEXCEPT;
/**
 * Fills `*spec`, whose struct_size is set (ATH_TENSOR_SPEC_INIT), with the input at `index`. ATH_OUT_OF_RANGE
 * beyond the count, ATH_INVALID_ARGUMENT for NULL or a struct_size that is too small.
 */
ATH_API int32_t ath_model_input(const ath_model *model, size_t index, ath_tensor_spec *spec) ATH_NOEXCEPT;
/** The same for an output. */
ATH_API int32_t ath_model_output(const ath_model *model, size_t index, ath_tensor_spec *spec) ATH_NOEXCEPT;

/**
 * Creates an empty request for `model`, which may be released before the request. Returns NULL if `model` is
 * NULL or memory runs out; every function rejects a NULL request, so the result need not be checked. May be
 * used for many calls in sequence: inputs stay set until they are replaced or reset. After a setter has
 * failed, calls with the request are rejected with the setter's error, until the same property is set
 * successfully or the request is reset; the codes of setters may therefore be ignored. (If memory runs out
 * even for storing the error: until the request is reset.)
 */
ATH_API ath_request *ath_request_create(const ath_model *model) ATH_NOEXCEPT;
/** Frees the request; a call in progress continues. NULL is a no-op. */
ATH_API void ath_request_destroy(ath_request *request) ATH_NOEXCEPT;
/** Resets inputs, outputs, deadline, cache mode and failures. */
ATH_API int32_t ath_request_reset(ath_request *request) ATH_NOEXCEPT;
/**
 * Returns the setter failure with which the next call would be rejected, as a code and an error object that
 * the caller owns; ATH_OK if there is none. For wrappers that report an error where it occurs.
 */
ATH_API int32_t ath_request_error(const ath_request *request, ath_error **out_error) ATH_NOEXCEPT;
/**
 * Sets the input of that name. Its memory is borrowed: it must live, unchanged, for as long as the request is
 * used with it, until ath_infer has returned, and until the completion of every ath_submit. A view with
 * strides is packed into memory that the request owns. The view itself is copied. Fails with
 * ATH_INVALID_ARGUMENT for an invalid view (also for a byte of an ATH_DTYPE_BOOL that is neither 0 nor 1),
 * and with ATH_UNIMPLEMENTED for memory that is not the CPU's; an input that does not fit the model is
 * rejected by the call.
 */
ATH_API int32_t ath_request_set_tensor(ath_request *request, const char *name, const ath_tensor_view *view,
                                       ath_error **out_error) ATH_NOEXCEPT;
/** The same, with a copy of the memory. */
ATH_API int32_t ath_request_copy_tensor(ath_request *request, const char *name, const ath_tensor_view *view,
                                        ath_error **out_error) ATH_NOEXCEPT;
/**
 * Sets an input to one text of `length` bytes, without a NUL; borrowed like the memory of
 * ath_request_set_tensor. NULL is accepted for 0 bytes. After a failure here or in the setters below,
 * ath_request_error returns the error object.
 */
ATH_API int32_t ath_request_set_text(ath_request *request, const char *name, const char *text, size_t length) ATH_NOEXCEPT;
/**
 * Sets an input to `count` texts, copied: one item each. `lengths`, in bytes, may be NULL when every text
 * ends with a NUL; a text of length 0 may be NULL. Texts in one block of memory are set without an array of
 * pointers: as an ATH_DTYPE_BYTES view with offsets, by ath_request_set_tensor or ath_request_copy_tensor.
 */
ATH_API int32_t ath_request_copy_texts(ath_request *request, const char *name, const char *const *texts,
                                       const size_t *lengths, size_t count) ATH_NOEXCEPT;
/**
 * Sets the deadline, in nanoseconds from the start of the call. ATH_DEADLINE_DEFAULT, the initial value,
 * means the engine's default_deadline_ms; any other value of 0 or less has already passed: the call
 * fails with ATH_DEADLINE_EXCEEDED.
 */
ATH_API int32_t ath_request_set_deadline_ns(ath_request *request, int64_t deadline_ns) ATH_NOEXCEPT;
/**
 * Sets the cache mode, an ath_cache_number; initially ATH_CACHE_USE. Any other number is
 * rejected with ATH_INVALID_ARGUMENT.
 */
ATH_API int32_t ath_request_set_cache_mode(ath_request *request, int32_t mode) ATH_NOEXCEPT;
/**
 * Selects the outputs that the answer holds, in this order, at most ATH_MAX_TENSORS; a larger count is
 * rejected before a name is read. The names are copied. A count of 0 means all. A name that the model does
 * not have is rejected by the call, with ATH_REASON_OUTPUT_MISSING.
 */
ATH_API int32_t ath_request_set_outputs(ath_request *request, const char *const *names, size_t count) ATH_NOEXCEPT;

/**
 * Runs the request and blocks until it is answered. A lone call that can meet its deadline may run on this
 * thread; concurrent calls share a batch. Fails, among others, with ATH_INVALID_ARGUMENT (the request),
 * ATH_DEADLINE_EXCEEDED, ATH_RESOURCE_EXHAUSTED or ATH_UNAVAILABLE (busy, or stopping; see
 * ath_error_retry_after_ns), ATH_INTERNAL (the model), ATH_NOT_FOUND (not cached), ATH_FAILED_PRECONDITION
 * (in a callback of the same engine: use ath_submit there), and as ath_model_load does if the model must
 * be loaded first.
 */
ATH_API int32_t ath_infer(const ath_request *request, ath_response **out_response, ath_error **out_error) ATH_NOEXCEPT;
/**
 * Starts the request and returns. Fails for errors that are known at once (the request, a limit, a stop); all
 * other results go to the completion. When it fails, `completion` is not called; `finalizer` (may be NULL)
 * is, before ath_submit returns. The request may be changed, used again or destroyed at once, but memory that
 * it borrows must live until the completion. `out_call` may be NULL if the caller will not cancel.
 */
ATH_API int32_t ath_submit(const ath_request *request, ath_completion completion, void *user_data,
                           ath_finalizer finalizer, ath_call **out_call, ath_error **out_error) ATH_NOEXCEPT;
/**
 * Cancels the call. The completion runs before this returns or soon after, with ATH_CANCELLED, or with
 * the answer if that was ready first; on this thread it may release the call. NULL, and a call that has
 * ended, are no-ops.
 */
ATH_API void ath_call_cancel(ath_call *call) ATH_NOEXCEPT;
/** Releases the object; the call continues and its completion still runs. NULL is a no-op. */
ATH_API void ath_call_release(ath_call *call) ATH_NOEXCEPT;

/** How many outputs the answer holds; 0 for NULL. */
ATH_API size_t ath_response_output_count(const ath_response *response) ATH_NOEXCEPT;
/**
 * Fills `*view`, whose struct_size is set (ATH_TENSOR_VIEW_INIT), with the output of that name. ATH_NOT_FOUND
 * when there is none, ATH_INVALID_ARGUMENT for NULL or a struct_size that is too small.
 */
ATH_API int32_t ath_response_output(const ath_response *response, const char *name, ath_tensor_view *view) ATH_NOEXCEPT;
/**
 * The same by index; `*out_name` (may be NULL) lives as long as the response. ATH_OUT_OF_RANGE
 * beyond the count.
 */
ATH_API int32_t ath_response_output_at(const ath_response *response, size_t index, const char **out_name,
                                       ath_tensor_view *view) ATH_NOEXCEPT;
/**
 * Fills `*report`, whose struct_size is set (ATH_REPORT_INIT). ATH_INVALID_ARGUMENT for NULL or a struct_size
 * that is too small.
 */
ATH_API int32_t ath_response_report(const ath_response *response, ath_report *report) ATH_NOEXCEPT;
/** Frees the response and the memory of its outputs. NULL is a no-op. */
ATH_API void ath_response_destroy(ath_response *response) ATH_NOEXCEPT;

#ifdef __cplusplus
}
#endif
#endif
