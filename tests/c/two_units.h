/* two_units.h - what the units of one program tell each other. rlimit.h is included again. */

#ifndef TWO_UNITS_H
#define TWO_UNITS_H

#include "rlimit.h"
#include "rlimit.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Each makes and uses every kind of state with its own copy of the inline functions; the number of
   the check that failed, or 0. */
int unit_a(rlm_limiter *shared, rlm_permit *permit);
int unit_b(rlm_limiter *shared, rlm_permit *permit);
int unit_cxx(rlm_limiter *shared, rlm_permit *permit);

#ifdef __cplusplus
}
#endif

#endif
