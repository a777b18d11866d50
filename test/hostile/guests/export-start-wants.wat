(module (func (export "_start") (param externref)))
