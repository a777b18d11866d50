(module (tag (export "_start")))
