/**
 * @file
 * The C tables through which the engine calls every backend and every processor: one indirect call per
 * batch or per item, and no C++ types in the interface. A host registers a table with
 * ath_engine_add_backend or ath_engine_add_processor; a plugin exports `athanor_plugin` (below); C++ code
 * gets a table from `athanor::make_table`.
 *
 * Structs. The code that creates a struct with a `struct_size` zeroes it and sets `struct_size` to its
 * sizeof: fields are only appended, in groups of 8 bytes. A size smaller than that of the first version is
 * rejected; of a larger one, up to 4096 bytes, everything that this version does not know must be zero.
 * `reserved` fields must be zero. ath_failure, ath_tensor and ath_value are used in arrays or in other
 * structs and do not grow while ATH_TABLE_VERSION stays the same.
 *
 * Threads. Every function of a table may be called from any thread. No function may throw. A returned int32_t
 * is a code; 0 is success, any other code means that nothing was created and that `failure` describes why.
 */
#ifndef ATHANOR_PLUGIN_H
#define ATHANOR_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The version of the tables in this header. */
#define ATH_TABLE_VERSION 1
/** The most dimensions that a tensor may have. */
#define ATH_MAX_RANK 8
/** The most inputs or outputs that a model may have. */
#define ATH_MAX_TENSORS 16
/** The size of an error sentence with its NUL. */
#define ATH_MAX_MESSAGE 512

/**
 * Why a function failed; zeroed by the caller, filled in by the function. Codes and reasons are the numbers
 * of athanor.h: ATH_INTERNAL, ATH_REASON_BACKEND_FAILURE and so on.
 */
typedef struct ath_failure {
  int32_t code;                  /**< never 0 after a failure */
  int32_t reason;                /**< the finer cause; 0 when there is none */
  /** UTF-8 with a NUL: what was wrong, where, what was expected and what was found */
  char message[ATH_MAX_MESSAGE];
} ath_failure;

/**
 * A dense row-major array in borrowed memory, aligned to its elements' size. Only its creator may write
 * to `data`. A bool is a byte of 0 or 1: where a backend or a processor gives another one, the call
 * fails with ATH_REASON_BACKEND_CONTRACT.
 */
typedef struct ath_tensor {
  void *data;                  /**< the first element */
  /** bytes tensors only: elements + 1 entries; NULL means one element, all of `data` */
  const int64_t *offsets;
  uint64_t size_bytes;         /**< of what `data` points to */
  int64_t shape[ATH_MAX_RANK]; /**< the first `ndim` count */
  int32_t ndim;                /**< number of dimensions */
  int32_t dtype;               /**< ATH_DTYPE_... of athanor.h; 0 in the inputs of an item: absent */
  int32_t device_type;         /**< ATH_DEVICE_... */
  int32_t device_index;        /**< which of them; 0 for the CPU */
} ath_tensor;

/** The types of ath_value. */
enum ath_value_number {
  ATH_VALUE_BOOL = 1, /**< `integer`, 0 or 1 */
  ATH_VALUE_I64 = 2,  /**< `integer` */
  ATH_VALUE_F64 = 3,  /**< `real` */
  ATH_VALUE_TEXT = 4  /**< `text` and `length` */
};

/** The value of one parameter of a request. */
typedef struct ath_value {
  const char *text; /**< UTF-8 without a NUL */
  uint64_t length;  /**< of `text`, in bytes */
  int64_t integer;  /**< of a bool or an i64 */
  double real;      /**< of an f64 */
  int32_t type;     /**< ATH_VALUE_... */
  int32_t reserved; /**< zero */
} ath_value;

/** Where run() or preprocess() may be called. */
enum ath_runs_on_number {
  ATH_RUNS_ON_ANY_THREAD = 0, /**< on any thread */
  ATH_RUNS_ON_OWN_WORKER = 1  /**< never on the thread of a caller */
};

/** What a backend's `load` is to load. Strings and arrays are valid during the call. */
typedef struct ath_model_source {
  size_t struct_size;              /**< set by the engine */
  const char *path;                /**< the model file */
  const char *format;              /**< as in the manifest; then, if any applies, "?" and pairs joined by "&":
                                        method=NAME, autograd=true, reset=NAME, none=NAME (an argument that is
                                        None; may repeat), optional=NAME (an input that may be None; may
                                        repeat), operators=NAME (may repeat). Reject a pair that the backend does not know. */
  const char *const *input_names;  /**< of the model, in the order of ath_batch.inputs */
  const int32_t *input_dtypes;     /**< ATH_DTYPE_... of each */
  size_t input_count;              /**< of both */
  const char *const *output_names; /**< of the model, in the order of ath_batch.outputs */
  const int32_t *output_dtypes;    /**< ATH_DTYPE_... of each */
  size_t output_count;             /**< of both */
  int32_t device_type;             /**< ATH_DEVICE_... */
  int32_t device_index;            /**< which of them */
  int32_t threads_per_instance;    /**< intra-op threads; 1 unless the manifest says otherwise */
  int32_t reserved;                /**< zero */
  /** slots of state that each instance holds; 0 for a model without state */
  uint64_t slot_count;
} ath_model_source;

/**
 * One execution. The engine fills in `items` and `inputs`: their memory must not be written to, or used
 * after the call. The backend fills in `outputs[0 .. output_count)` with tensors in its own memory, valid
 * until the next run of the same instance; its batch axis, axis 0 unless the manifest names another or none,
 * must be `items` long. Axis 0 of an output along a ragged axis is as long as the rows of all items add up
 * to. An input that may be None (`optional=NAME` in the source's format) is None if its data is NULL and its
 * ndim is 0.
 */
typedef struct ath_batch {
  size_t struct_size;                         /**< set by the engine */
  int64_t items;                              /**< rows of the batch */
  const ath_tensor *inputs;                   /**< in the order of the source's names */
  size_t input_count;                         /**< of `inputs` */
  ath_tensor *outputs;                        /**< zeroed by the engine, filled in by the backend */
  size_t output_count;                        /**< of `outputs` */
  /** NULL, or the state slot of each item; no slot occurs twice */
  const uint64_t *slots;
  /** Nonzero: no caller waits for anything of the batch any more, because all have cancelled or their
   * deadlines have passed. What `run` returns after that is discarded, and is not counted as a failure. May
   * be called on any thread until `run` has returned. NULL while the model is loaded. */
  int32_t (*is_cancelled)(const void *work);
  const void *work;                           /**< passed to `is_cancelled` */
} ath_batch;

/**
 * A backend. Functions on distinct models or instances may run concurrently; functions on one
 * instance never do. The engine copies the table and its name when it is registered. `context` must
 * stay valid until `release`.
 */
typedef struct ath_backend_table {
  size_t struct_size; /**< sizeof(ath_backend_table) as its maker knows it */
  void *context;      /**< passed to every function */
  const char *name;   /**< how manifests name the backend */
  int32_t runs_on;    /**< ATH_RUNS_ON_... */
  int32_t reserved;   /**< zero */
  /** Loads a model. A NULL model is an error, as is a NULL instance from make_instance. */
  int32_t (*load)(void *context, const ath_model_source *source, void **out_model, ath_failure *failure);
  /** Frees a model, after all its instances have been destroyed. */
  void (*unload)(void *context, void *model);
  /** The measured size in bytes of a model's weights. */
  uint64_t (*footprint)(void *context, void *model);
  /** Makes one instance of a model. */
  int32_t (*make_instance)(void *context, void *model, void **out_instance, ath_failure *failure);
  /** Frees an instance. */
  void (*destroy_instance)(void *context, void *instance);
  /** Executes one batch. */
  int32_t (*run)(void *context, void *instance, ath_batch *batch, ath_failure *failure);
  /** Clears a slot of an instance's state before another sequence uses it. NULL for a backend that
   * holds no state. */
  void (*clear_slot)(void *context, void *instance, uint64_t slot);
  /** Called once, on any thread, after the last use of an accepted table, when the engine, everything made
   * from it, and the threads that a stopped engine abandoned inside the backend are gone. May be NULL. Not
   * called for a rejected table. */
  void (*release)(void *context);
} ath_backend_table;

/**
 * One item of a request, as passed to a processor. Valid during the call: nothing that a processor makes or
 * keeps may point into it.
 */
typedef struct ath_item {
  size_t struct_size;                        /**< set by the engine */
  /** the item's row of each request input that the manifest gives the processor */
  const ath_tensor *inputs;
  size_t input_count;                        /**< of `inputs` */
  const ath_value *parameters;               /**< in the order of the signature, defaults filled in */
  size_t parameter_count;                    /**< of `parameters`; 0 where a model declares none */
  /** Nonzero: no caller waits for the item any more, because all have cancelled or their deadlines have
   * passed, and the result of the function is discarded. May be called on any thread until the function has
   * returned. NULL while the model is loaded. */
  int32_t (*is_cancelled)(const void *call);
  const void *call;                          /**< passed to `is_cancelled` */
} ath_item;

/** The result of preprocess or postprocess for an item; zeroed by the engine but for `struct_size`. */
typedef struct ath_made {
  size_t struct_size;          /**< set by the engine */
  /** in the order of ath_ports; axis 0 of each is the item's rows; valid until `release` */
  const ath_tensor *tensors;
  size_t tensor_count;         /**< of `tensors` */
  /** of preprocess: the item's share of a batch's cost limit (graph edges, tokens), at least 1 */
  int64_t cost;
  void *owner;                 /**< of preprocess: the state that postprocess is given */
  /** called once, on any thread, after a successful preprocess or postprocess, however the call ends;
   * may be NULL */
  void (*release)(void *owner);
} ath_made;

/**
 * The outputs of a processor: filled in by `open`, because they may depend on its options;
 * valid until `close`.
 */
typedef struct ath_ports {
  size_t struct_size;              /**< set by the engine */
  const char *const *made_names;   /**< the model inputs that preprocess makes */
  const int32_t *made_dtypes;      /**< ATH_DTYPE_... of each */
  size_t made_count;               /**< of both */
  const char *const *output_names; /**< the answers that postprocess makes */
  const int32_t *output_dtypes;    /**< ATH_DTYPE_... of each */
  size_t output_count;             /**< of both */
} ath_ports;

/**
 * A processor: turns one item of a request into the tensors that a model reads. `open` makes a processor for
 * the model in `folder`, with the manifest's `options`, a JSON object; it must reject an unknown option with
 * an error that names it. Both texts are valid during the call. `preprocess` and `postprocess` are called
 * concurrently from many threads, `close` once, after the last of them; one of the two may be NULL. Copied
 * and released like a backend's table. This version calls them on any thread: a table with
 * ATH_RUNS_ON_OWN_WORKER is rejected with ATH_UNIMPLEMENTED.
 */
typedef struct ath_processor_table {
  size_t struct_size; /**< sizeof(ath_processor_table) as its maker knows it */
  void *context;      /**< passed to every function */
  const char *name;   /**< how manifests name the processor */
  int32_t runs_on;    /**< ATH_RUNS_ON_... */
  int32_t reserved;   /**< zero */
  /** Opens the processor for one model and fills in `ports`. */
  int32_t (*open)(void *context, const char *folder, const char *options_json, void **out_processor, ath_ports *ports,
                  ath_failure *failure);
  /** Frees an opened processor. */
  void (*close)(void *context, void *processor);
  /** Makes model inputs from one item. */
  int32_t (*preprocess)(void *context, void *processor, const ath_item *item, ath_made *out, ath_failure *failure);
  /** Makes answers from the model's results for one item: one row of each output that the manifest names,
   * valid during the call. `state` is the `owner` that preprocess set, or NULL. */
  int32_t (*postprocess)(void *context, void *processor, const ath_item *item, void *state, const ath_tensor *rows,
                         size_t row_count, ath_made *out, ath_failure *failure);
  /** As for a backend's table. */
  void (*release)(void *context);
} ath_processor_table;

/**
 * What a plugin offers, filled in by its one exported function. Arrays and tables are static: never freed.
 */
typedef struct ath_plugin {
  size_t struct_size;                           /**< set by the host */
  /** ATH_TABLE_VERSION of the header that the plugin was built with */
  int32_t table_version;
  int32_t reserved;                             /**< zero */
  const ath_backend_table *const *backends;     /**< NULL when there is none */
  size_t backend_count;                         /**< of `backends` */
  const ath_processor_table *const *processors; /**< NULL when there is none */
  size_t processor_count;                       /**< of `processors` */
} ath_plugin;

/**
 * Exported by every plugin under the name "athanor_plugin". A plugin that cannot be used returns a code and
 * fills in `failure`, for example when the LibTorch found at run time is not the one that it was built for.
 */
typedef int32_t (*ath_plugin_entry)(ath_plugin *out_plugin, ath_failure *failure);

#ifdef __cplusplus
}
#endif
#endif
