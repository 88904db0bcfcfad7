import HeraldCore

/// Mercure's topic selectors as filters, so that tokens made for a Mercure hub go on working.
///
/// `*` is every topic. A selector that is a topic is that topic. A URI template (RFC 6570) whose variables are whole
/// segments, such as `books/{id}`, has `*` in their places: a simple variable never stands for a slash. All else, such as
/// a URL or a template of another form, names no topic that Herald has, and grants nothing. An empty list of `publish`,
/// which in Mercure allows public updates, grants nothing either: Herald has no updates that are not asked for.
enum MercureClaim {
    /// The filters that selectors stand for.
    static func filters(_ selectors: [String]) -> FilterSet {
        FilterSet(selectors.compactMap(filter))
    }

    private static func filter(_ selector: String) -> FilterName? {
        if selector == "*" { return try? FilterName("**") }
        guard !selector.utf8.contains(UInt8(ascii: "*")) else { return nil }
        let segments = selector.split(separator: "/", omittingEmptySubsequences: false)
        return try? FilterName(segments.map { isVariable($0) ? "*" : $0 }.joined(separator: "/"))
    }

    /// Whether a segment is one variable of a template, `{name}`: no operator, no modifier, no list.
    private static func isVariable(_ segment: Substring) -> Bool {
        guard segment.utf8.count > 2, segment.first == "{", segment.last == "}" else { return false }
        return segment.dropFirst().dropLast().utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."):
                true
            default: false
            }
        }
    }
}
