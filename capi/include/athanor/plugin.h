/*
 * The C tables behind which every backend and every processor stands. One indirect call per batch; no C++ type
 * crosses. Plugins export `athanor_plugin` (below); C++ code gets a table from `athanor::make_table`.
 *
 * Growth: structs with a `struct_size` carry their size as their maker knows it; fields are only appended, in groups of
 * 8 bytes. ath_failure and ath_tensor stay as they are for as long as ATH_TABLE_VERSION does.
 */
#ifndef ATHANOR_PLUGIN_H
#define ATHANOR_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ATH_TABLE_VERSION 1
#define ATH_MAX_RANK 8
#define ATH_MAX_TENSORS 16
#define ATH_MAX_MESSAGE 512

/* How a function failed, filled by the function; the caller brings it zeroed. Codes and reasons are the numbers of
 * athanor::Code and Reason, which athanor.h spells ATH_INTERNAL, ATH_REASON_BACKEND_FAILURE and so on. `message` is UTF-8
 * and ends with a NUL: what was wrong, where, what was expected and what came. */
typedef struct ath_failure {
  int32_t code;
  int32_t reason;
  char message[ATH_MAX_MESSAGE];
} ath_failure;

/* A dense row-major array in memory that somebody else owns. Who is given one reads it; only its maker writes to `data`.
 * `offsets` (bytes tensors only) has elements + 1 entries; NULL means one element, all of `data`. */
typedef struct ath_tensor {
  void *data;
  const int64_t *offsets;
  uint64_t size_bytes;
  int64_t shape[ATH_MAX_RANK];
  int32_t rank;
  int32_t dtype;
  int32_t device_type;
  int32_t device_index;
} ath_tensor;

/* What a backend is asked to load. Strings and arrays live for the call. */
typedef struct ath_model_source {
  size_t struct_size;
  const char *path;   /* the model file */
  const char *format; /* as in the manifest: "torchscript", "pt2", ... */
  const char *const *input_names;
  const int32_t *input_dtypes;
  size_t input_count;
  const char *const *output_names;
  const int32_t *output_dtypes;
  size_t output_count;
  int32_t device_type;
  int32_t device_index;
  int32_t threads_per_instance; /* intra-op threads; 1 unless asked for */
  int32_t reserved;
} ath_model_source;

/* One execution. The caller fills `items` and `inputs` (in the order of the source's names): memory of the callers, which
 * must not be written to nor kept. The backend fills `outputs[0 .. output_count)` with tensors in its own memory, valid
 * until the next run of the same instance; axis 0 of each must be `items` long. */
typedef struct ath_batch {
  size_t struct_size;
  int64_t items;
  const ath_tensor *inputs;
  size_t input_count;
  ath_tensor *outputs;
  size_t output_count;
} ath_batch;

enum {
  ATH_RUNS_ON_ANY_THREAD = 0, /* run() may be called from any thread, one at a time per instance */
  ATH_RUNS_ON_OWN_WORKER = 1  /* run() must not borrow a caller's thread */
};

/* A backend. Every function may be called from any thread; functions on distinct models or instances may run at the same
 * time, an instance is never entered twice at once. No function may throw. Each int32_t is a code; 0 is success, else
 * `failure` says why and nothing was made. The table and `self` live for as long as any engine knows them, and threads
 * that a stopped engine abandoned are inside them. */
typedef struct ath_backend_table {
  size_t struct_size;
  void *self;
  const char *name;
  int32_t runs_on;
  int32_t reserved;
  int32_t (*load)(void *self, const ath_model_source *source, void **out_model, ath_failure *failure);
  void (*unload)(void *self, void *model); /* after every instance of it was destroyed */
  uint64_t (*footprint)(void *self, void *model); /* bytes held by weights, measured */
  int32_t (*make_instance)(void *self, void *model, void **out_instance, ath_failure *failure);
  void (*destroy_instance)(void *self, void *instance);
  int32_t (*run)(void *self, void *instance, ath_batch *batch, ath_failure *failure);
} ath_backend_table;

/* What a processor made of one item; the caller brings it zeroed but for `struct_size`. Tensors live until
 * `release(owner)`, which is called once, on any thread (NULL where nothing is to be given back), and are in the order of
 * the processor's `output_names`. `cost` is the item's share of a batch's cost limit (graph edges, tokens). */
typedef struct ath_made {
  size_t struct_size;
  ath_tensor tensors[ATH_MAX_TENSORS];
  size_t tensor_count;
  int64_t cost;
  void *owner;
  void (*release)(void *owner);
} ath_made;

/* A processor: turns one item of a request (a text, say) into the tensors a model reads. `open` makes a processor for the
 * model in `folder`, with the manifest's `options`, a JSON object, any of which that it does not know it refuses; both
 * texts live for the call. `prepare` may be called from many threads at once, `close` once, after the last of them.
 * Codes, failures and the life of the table are as for backends. */
typedef struct ath_processor_table {
  size_t struct_size;
  void *self;
  const char *name;
  const char *const *output_names;
  const int32_t *output_dtypes;
  size_t output_count;
  int32_t (*open)(void *self, const char *folder, const char *options_json, void **out_processor, ath_failure *failure);
  void (*close)(void *self, void *processor);
  int32_t (*prepare)(void *self, void *processor, const ath_tensor *item, ath_made *out, ath_failure *failure);
} ath_processor_table;

/* What a plugin's one exported function fills: NULL for what it does not offer. Both tables are static: never freed. */
typedef struct ath_plugin {
  size_t struct_size;
  int32_t table_version; /* ATH_TABLE_VERSION of the header it was built with */
  int32_t reserved;
  const ath_backend_table *backend;
  const ath_processor_table *features;
} ath_plugin;

/* Exported by every plugin under the name "athanor_plugin". Refuses by returning a code and a sentence, for example when
 * the LibTorch found at run time is not the one it was built for. */
typedef int32_t (*ath_plugin_entry)(ath_plugin *out_plugin, ath_failure *failure);

#ifdef __cplusplus
}
#endif
#endif
