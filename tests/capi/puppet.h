/* A backend in C that does what a test tells it, and folders with a manifest for it. */
#ifndef ATHANOR_TESTS_CAPI_PUPPET_H
#define ATHANOR_TESTS_CAPI_PUPPET_H

#include <athanor.h>
#include <athanor/plugin.h>

/* Inputs that the puppet understands as orders. */
#define PUPPET_FAIL 13.0f /* refuse the batch */
/* What an engine makes up to try a model before it serves: answered, and not counted. */
#define PUPPET_IS_MADE_UP(number) ((number) == 0.015625f || (number) == 0.03125f)
#define PUPPET_HOLD 99.0f /* run until puppet_let_go is called */
#define PUPPET_ASK 98.0f  /* run until nobody waits, and give up */

/* y = x + 1 on f32 [items, 2], and a second input of one element is added. */
extern const ath_backend_table puppet_table;
/* How many batches ran since the process began. */
int puppet_runs(void);
/* How often a batch or an item was told that nobody waits for it. */
int puppet_given_up(void);
/* Waits until a batch with PUPPET_HOLD is inside run. */
void puppet_wait_until_held(void);
/* Lets every held batch go on, and returns when they do; the next one is held again. */
void puppet_let_go(void);

/* The folder of a model called `name`, made anew; remove it with puppet_remove. The path is static until the
 * next call. */
const char* puppet_folder(const char* name);
void puppet_remove(const char* folder);
/* "letters": x = [number of bytes of the text, number of 'a' in it]; refuses texts that contain '!', and gives up a
 * text that begins with '?' once nobody waits for it. */
extern const ath_processor_table letters_table;

/* "spelling": turns the row y of a model into texts: the label "a" repeated y[0] times, and y[1] words "w0", "w1", ... */
extern const ath_processor_table spelling_table;

/* An engine with these tables, and models of it. Checks that they could be made. */
ath_engine* puppet_engine(const char* options_json);
ath_model* puppet_model(ath_engine* engine);
/* A model with a text input "words", whose processor counts letters. */
ath_model* puppet_text_model(ath_engine* engine);
/* A model with a parameter "shift", an f64 of at most 1000, that is added to x. */
ath_model* puppet_shifted_model(ath_engine* engine);
/* A model with a tensor "shift" of one f32 for all items, that is added to x. */
ath_model* puppet_shared_model(ath_engine* engine);
/* A model whose answers are also texts: "label", one for each item, and "word", as many for each item as "words" says. */
ath_model* puppet_spelling_model(ath_engine* engine);
/* The mean of two puppets. */
ath_model* puppet_ensemble(ath_engine* engine);
/* A request for one row. The row is read later: it must live. */
ath_request* puppet_request(const ath_model* model, const float* row);

/* What most tests need. */
typedef struct puppet_world {
  ath_engine* engine;
  ath_model* model;
  ath_request* request;
} puppet_world;
/* With a request for `row`, or an empty one when that is NULL. */
puppet_world puppet_begin(const char* options_json, const float* row);
void puppet_end(puppet_world* on);

#endif
