/**
 * What the names of tags and expressions stand for. Names are dotted as in Argo: `workflow.parameters.p`,
 * `steps.a.outputs.result`, `item.x`. They are looked up one at a time, so a scope may be as large as it likes.
 */
export interface Scope {
  /**
   * The value of a name: a string as a rule, or plain data (numbers, booleans, a Date, arrays, objects) where Argo has typed
   * values; null for a name that is known to have no value (an output of a skipped step), undefined for an unknown name.
   */
  get(name: string): unknown;
  /**
   * The next segments of the names below this one: for `inputs.parameters` the names of the parameters. Only expressions that
   * use such a name as a map (`toJson(inputs.parameters)`) ask for it. When there are any they come before what `get` says.
   */
  within?(name: string): Iterable<string>;
}
