/* Preloaded before the shim: this process's dlsym finds nothing. */
void *dlsym(void *handle, const char *name)
{
    (void)handle;
    (void)name;
    return 0;
}
