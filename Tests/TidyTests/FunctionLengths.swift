/// A function and how long it is.
struct FunctionLength: Sendable {
    /// The first line of its declaration.
    let name: String
    /// The line it begins on, from 1.
    let line: Int
    /// The number of lines from there to its closing brace.
    let length: Int
}

/// Finds functions by their declarations and counts braces to their ends. A reader of form, not a compiler.
enum FunctionLengths {
    /// The functions of a file.
    static func all(in file: SourceFile) -> [FunctionLength] {
        let code = file.code.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        return code.indices.compactMap { index in
            let begins = file.isC ? beginsInC(code[index]) : beginsInSwift(code[index])
            guard begins, let end = end(code, from: index) else { return nil }
            let name = code[index].trimmed
            return FunctionLength(name: name, line: index + 1, length: end - index + 1)
        }
    }

    /// In C a function's declaration begins in the first column; what is not one has no parenthesis or ends at once.
    private static func beginsInC(_ line: String) -> Bool {
        guard let first = line.first, first.isLetter || first == "_" else { return false }
        let word = line.prefix { $0.isLetter || $0.isNumber || $0 == "_" }
        return line.contains("(") && !["typedef", "struct", "enum", "union", "extern"].contains(String(word))
            && !line.contains(";") && !line.contains("=")
    }

    private static let modifiers: Set<String> = [
        "public", "private", "fileprivate", "internal", "package", "static", "final", "override", "mutating",
        "consuming", "borrowing", "convenience", "nonisolated", "required", "prefix", "postfix", "indirect",
    ]

    private static func beginsInSwift(_ line: String) -> Bool {
        var words = line.trimmed.split(separator: " ").map(String.init)[...]
        while let word = words.first, modifiers.contains(word) || word.hasPrefix("@") || word.hasPrefix("nonisolated") {
            words.removeFirst()
        }
        guard let word = words.first else { return false }
        if word == "var" || word == "subscript" { return line.trimmed.hasSuffix("{") }
        return word == "func" || word == "deinit"
            || ["init(", "init?(", "init<", "subscript("].contains { word.hasPrefix($0) }
    }

    /// The line with the closing brace of the body; nil when there is none, as in a protocol or a prototype.
    private static func end(_ code: [String], from start: Int) -> Int? {
        var parentheses = 0
        var braces = 0
        for index in start..<code.count {
            for character in code[index] {
                switch character {
                case "(", "[": parentheses += 1
                case ")", "]": parentheses -= 1
                case "{": braces += 1
                case "}":
                    braces -= 1
                    if braces == 0 { return index }
                    if braces < 0 { return nil }
                case ";" where braces == 0 && parentheses == 0: return nil
                default: break
                }
            }
            // A signature goes on in the next line inside parentheses, or if that begins as one can go on.
            if braces == 0, parentheses == 0, index + 1 < code.count, !goesOn(code[index + 1]) { return nil }
        }
        return nil
    }

    private static func goesOn(_ line: String) -> Bool {
        ["{", "->", ")", "throws", "async", "where"].contains { line.trimmed.hasPrefix($0) }
    }
}

extension String {
    /// The text without the white space at either end.
    var trimmed: String {
        let start = drop(while: \.isWhitespace)
        return start.lastIndex { !$0.isWhitespace }.map { String(start[...$0]) } ?? ""
    }
}
