// Numbers of encoders turned into what can be looked at: maps over patches, common colours, measures of collapse.

#ifndef TEC_EVAL_REPORT_PATCH_MAPS_H_
#define TEC_EVAL_REPORT_PATCH_MAPS_H_

#include <string>

#include "ATen/core/Tensor.h"

namespace tec {

// Numbers over the patches of one image, [L] with L a square, as a PNG of one pixel a patch: the lowest dark, the
// highest bright (the colour map viridis). Equal numbers everywhere give one colour.
std::string HeatMapPng(const at::Tensor& values);

// Colours over patches, float [L, 3] in [0, 1], as a PNG of one pixel a patch.
std::string ColoursPng(const at::Tensor& colours);

// The three directions of largest variance of some features, and how strong each is.
struct PrincipalComponents {
  at::Tensor mean;        // [C]
  at::Tensor directions;  // [C, 3], orthonormal; the largest number (by magnitude) of each column is positive.
};
// features [n, C], n >= 2, C >= 3.
PrincipalComponents PrincipalComponentsOf(const at::Tensor& features);

// features [n, C] -> coordinates [n, 3] along the components.
at::Tensor Project(const PrincipalComponents& components, const at::Tensor& features);

// The rotation or reflection R [3, 3] for which coordinates R is nearest to `reference` (orthogonal Procrustes;
// Schoenemann 1966), both [n, 3] and centred: so that colours of one encoder mean in another what they mean there, and
// stay comparable from epoch to epoch, where sign and order of components are arbitrary.
at::Tensor RotationTo(const at::Tensor& reference, const at::Tensor& coordinates);

// Coordinates [n, 3] as colours [n, 3]: each column's 2nd percentile becomes 0, its 98th 1.
at::Tensor ColoursOf(const at::Tensor& coordinates);

// RankMe (Garrido et al. 2023, arXiv 2210.02885): exp of the entropy of the singular values of features [n, C], divided
// by their sum, plus 1e-7. Between 1 (collapsed) and min(n, C). In float64.
double RankMe(const at::Tensor& features);

// Mean over columns of the standard deviation over rows (unbiased) of features [n, C], each row divided by its length,
// times sqrt(C): 0 where all rows point one way, about 1 where they point everywhere (Chen and He 2021, arXiv
// 2011.10566, section 4.1). In float64.
double FeatureDeviation(const at::Tensor& features);

}  // namespace tec

#endif  // TEC_EVAL_REPORT_PATCH_MAPS_H_
