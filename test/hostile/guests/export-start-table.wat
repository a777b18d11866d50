(module (table (export "_start") 1 funcref))
