/* What Python may call. Kept to the letter with the headers: the compiler checks each line. */

/* churn_sim.h */
typedef struct churn_sim churn_sim;
churn_sim *churn_sim_new(uint32_t workers, uint32_t conns, uint32_t tuples, const double *weights,
                         const uint32_t *caps, double linger_s, uint32_t levels);
void churn_sim_free(churn_sim *sim);
void churn_sim_start(churn_sim *sim, uint64_t seed);
void churn_sim_segment(churn_sim *sim, uint64_t events, double until_s);
int64_t churn_sim_run(churn_sim *sim, uint32_t most);
void churn_sim_read(const churn_sim *sim, uint32_t *loads, uint32_t *maxima, uint64_t *upcrossings,
                    uint64_t *refusals);
