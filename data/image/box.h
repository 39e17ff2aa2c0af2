// A rectangle in pixels.

#ifndef TEC_DATA_IMAGE_BOX_H_
#define TEC_DATA_IMAGE_BOX_H_

namespace tec {

// Rows [top, top + height), columns [left, left + width).
struct Box {
  int top = 0;
  int left = 0;
  int height = 0;
  int width = 0;

  // Whether it holds a pixel and lies in an image of that size.
  bool FitsInto(int image_height, int image_width) const {
    return top >= 0 && left >= 0 && height >= 1 && width >= 1 && height <= image_height - top &&
           width <= image_width - left;
  }
};

}  // namespace tec

#endif  // TEC_DATA_IMAGE_BOX_H_
