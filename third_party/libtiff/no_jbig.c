/* In the place of JBIG-KIT, whose licence (GPL) would become that of every program of ours: a TIFF compressed with JBIG,
 * which hardly exists outside fax machines, gives an error. */

#include <stddef.h>

enum { kNotSupported = 1 };

void jbg_dec_init(void* state) {}
int jbg_dec_in(void* state, unsigned char* data, size_t size, size_t* used) { return kNotSupported; }
void jbg_dec_free(void* state) {}
unsigned char* jbg_dec_getimage(const void* state, int plane) { return NULL; }
unsigned long jbg_dec_getsize(const void* state) { return 0; }
int jbg_newlen(unsigned char* data, size_t size) { return kNotSupported; }
const char* jbg_strerror(int error) { return "JBIG is not supported"; }
void jbg_enc_init(void* state, unsigned long width, unsigned long height, int planes, unsigned char** image,
                  void (*out)(unsigned char*, size_t, void*), void* file) {}
void jbg_enc_out(void* state) {}
void jbg_enc_free(void* state) {}
