/// A drawing as SVG: texts, lines, circles and rectangles, whose colours are classes of a style sheet.
///
/// It knows roughly how wide a text is, and keeps the box of each: by these a layout can be checked without a browser.
struct SVGDrawing: Sendable {
    enum Anchor: String, Sendable {
        case start, middle, end
    }

    /// Where something stands; `x` and `y` are its upper left corner.
    struct Box: Sendable, Equatable {
        var x, y, width, height: Double

        /// Whether both share any area.
        func overlaps(_ other: Box) -> Bool {
            x < other.x + other.width && other.x < x + width && y < other.y + other.height && other.y < y + height
        }
    }

    private var elements: [String] = []

    /// The texts and their boxes, in order.
    private(set) var texts: [(content: String, box: Box)] = []

    /// Puts a text with its baseline at `y`.
    mutating func text(
        _ content: String, x: Double, y: Double, size: Double = 12, anchor: Anchor = .start, isBold: Bool = false,
        class name: String = "ink"
    ) {
        let width = Self.width(of: content, size: size)
        let left =
            switch anchor {
            case .start: x
            case .middle: x - width / 2
            case .end: x - width
            }
        texts.append((content, Box(x: left, y: y - size * 0.8, width: width, height: size)))
        elements.append(
            "<text x=\"\(Self.number(x))\" y=\"\(Self.number(y))\" font-size=\"\(Self.number(size))\""
                + (anchor == .start ? "" : " text-anchor=\"\(anchor.rawValue)\"")
                + (isBold ? " font-weight=\"bold\"" : "") + " class=\"\(name)\">\(Self.escaped(content))</text>")
    }

    /// Draws a straight line.
    mutating func line(
        _ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, width: Double = 1, class name: String
    ) {
        elements.append(
            "<line x1=\"\(Self.number(x1))\" y1=\"\(Self.number(y1))\" x2=\"\(Self.number(x2))\" "
                + "y2=\"\(Self.number(y2))\" stroke-width=\"\(Self.number(width))\" class=\"\(name)\"/>")
    }

    /// Draws a circle.
    mutating func circle(_ x: Double, _ y: Double, radius: Double, class name: String) {
        elements.append(
            "<circle cx=\"\(Self.number(x))\" cy=\"\(Self.number(y))\" r=\"\(Self.number(radius))\" class=\"\(name)\"/>"
        )
    }

    /// The whole document, on a ground of the class `paper`.
    func document(width: Double, height: Double, title: String, style: String) -> String {
        let (width, height) = (Self.number(width), Self.number(height))
        return """
            <svg xmlns="http://www.w3.org/2000/svg" width="\(width)" height="\(height)" \
            viewBox="0 0 \(width) \(height)" font-family="Helvetica, Arial, sans-serif" role="img">
            <title>\(Self.escaped(title))</title>
            <style>
            \(style)
            </style>
            <rect width="\(width)" height="\(height)" class="paper"/>
            \(elements.joined(separator: "\n"))
            </svg>

            """
    }

    /// How wide a text is in Helvetica, or a sixth less: fonts that stand in for it are wider.
    static func width(of text: String, size: Double) -> Double {
        text.unicodeScalars.reduce(0) { $0 + advance(of: $1) } * size * 1.17
    }

    /// The width of a character in parts of the font's size, rounded up within groups.
    private static func advance(of character: Unicode.Scalar) -> Double {
        switch character {
        case "i", "j", "l", "'", "|": 0.23
        case " ", ".", ",", ":", ";", "!", "/", "f", "t", "I", "·": 0.28
        case "r", "(", ")", "-", "\"": 0.36
        case "c", "k", "s", "v", "x", "y", "z", "J": 0.5
        case "a"..."z", "0"..."9", "µ": 0.56
        case "m", "M", "w", "%": 0.89
        case "A"..."Z": 0.78
        default: 1
        }
    }

    /// A coordinate with one digit behind the point at most.
    private static func number(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        let sign = tenths < 0 ? "-" : ""
        return sign + "\(abs(tenths) / 10)" + (tenths % 10 == 0 ? "" : ".\(abs(tenths) % 10)")
    }

    private static func escaped(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            // XML has no way to write these.
            case "\u{0}"..."\u{8}", "\u{B}"..."\u{C}", "\u{E}"..."\u{1F}", "\u{FFFE}", "\u{FFFF}": escaped += "\u{FFFD}"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
