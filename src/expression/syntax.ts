/** The syntax tree of an expression. `at` is an offset into its text. */
export type Node =
  | { readonly kind: "literal"; readonly at: number; readonly value: Literal }
  | { readonly kind: "name"; readonly at: number; readonly name: string }
  | { readonly kind: "pointer"; readonly at: number; readonly name: string }
  | {
      readonly kind: "unary";
      readonly at: number;
      readonly operator: UnaryOperator;
      readonly operand: Node;
    }
  | {
      readonly kind: "binary";
      readonly at: number;
      readonly operator: BinaryOperator;
      readonly left: Node;
      readonly right: Node;
    }
  | {
      readonly kind: "member";
      readonly at: number;
      readonly base: Node;
      readonly property: Node;
      /** Whether it was written `?.`. */
      readonly optional: boolean;
    }
  /** Where a `?.` inside ends when it finds nil. */
  | { readonly kind: "chain"; readonly at: number; readonly inner: Node }
  | {
      readonly kind: "slice";
      readonly at: number;
      readonly base: Node;
      readonly from: Node | undefined;
      readonly to: Node | undefined;
    }
  | {
      readonly kind: "call";
      readonly at: number;
      readonly callee: Node;
      readonly arguments: readonly Node[];
    }
  /** A builtin function, some of whose arguments may be predicates. */
  | {
      readonly kind: "builtin";
      readonly at: number;
      readonly name: string;
      readonly arguments: readonly Node[];
    }
  | { readonly kind: "predicate"; readonly at: number; readonly body: Node }
  | {
      readonly kind: "let";
      readonly at: number;
      readonly name: string;
      readonly value: Node;
      readonly body: Node;
    }
  | { readonly kind: "sequence"; readonly at: number; readonly nodes: readonly Node[] }
  | {
      readonly kind: "conditional";
      readonly at: number;
      readonly condition: Node;
      readonly yes: Node;
      readonly no: Node;
    }
  | { readonly kind: "array"; readonly at: number; readonly nodes: readonly Node[] }
  | {
      readonly kind: "map";
      readonly at: number;
      readonly pairs: readonly { readonly key: Node; readonly value: Node }[];
    };

/** A bigint is Go's int, a number its float64. */
type Literal = null | boolean | bigint | number | string | Uint8Array;

type UnaryOperator = "not" | "-" | "+";

export type BinaryOperator =
  | "or"
  | "and"
  | "=="
  | "!="
  | "<"
  | ">"
  | ">="
  | "<="
  | "in"
  | "matches"
  | "contains"
  | "startsWith"
  | "endsWith"
  | ".."
  | "+"
  | "-"
  | "*"
  | "/"
  | "%"
  | "**"
  | "??";
