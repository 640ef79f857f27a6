def _install(packages):
    """Install what is missing."""
    from importlib import invalidate_caches, metadata, util

    def missing():
        installed = {str(each.metadata["Name"]).lower().replace("_", "-") for each in metadata.distributions()}
        unknown = [name for name in packages if name.lower().replace("_", "-") not in installed]
        return [name for name in unknown if not util.find_spec(name)]

    if missing():
        get_ipython().run_line_magic("pip", "install " + " ".join(missing()))
        invalidate_caches()
    if missing():
        raise ModuleNotFoundError(f"pip could not install {', '.join(missing())}.")
